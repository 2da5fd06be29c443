"""Apps that go on sending, whatever happens to the service, and note every answer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from app.model.api_key import digest, new_secret
from app.store.engine import Database
from app.store.keys import KeyStore
from tests.support.background import Background

PAUSE = 0.02
"""Seconds between an answer and the next request of one app."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A text and its answer; ``status`` is 0 where there was none."""

    text: str
    at: float
    status: int
    body: dict[str, Any]
    seconds: float


class Senders(Background):
    """``async with``: they send in the background, and on leaving wait for their last answers."""

    def __init__(self, port: int, key: str, *, connections: int = 8) -> None:
        super().__init__(connections)
        self.sent: list[Sent] = []
        self._url = f"http://127.0.0.1:{port}"
        self._key = key

    @property
    def statuses(self) -> Counter[int]:
        """How many were answered what."""
        return Counter(one.status for one in self.sent)

    def count(self, status: int) -> int:
        """How many were answered so."""
        return self.statuses[status]

    def seconds_without(self, status: int, *, since: float) -> float:
        """From a moment (``time.monotonic``) to the first answer like this of a later request."""
        later = (one for one in self.sent if one.status == status and one.at > since)
        return min(one.at + one.seconds for one in later) - since

    async def work(self) -> None:
        """One app, or one connection of it."""
        headers = {"Authorization": f"Bearer {self._key}"}
        async with httpx.AsyncClient(
            base_url=self._url, headers=headers, timeout=40, trust_env=False
        ) as client:
            while not self.stopped.is_set():
                await self._send_one(client)
                await asyncio.sleep(PAUSE)

    async def _send_one(self, client: httpx.AsyncClient) -> None:
        text = f"text {uuid4().hex}"
        fields = {"origin": "447923221231", "destination": "447700900100", "message": text}
        began = time.monotonic()
        try:
            answer = await client.post("/v1/messages", json=fields)
            status, body = answer.status_code, answer.json()
        except httpx.HTTPError:
            status, body = 0, {}
        self.sent.append(Sent(text, began, status, body, time.monotonic() - began))


async def new_key(database_url: str) -> str:
    """A key of an app that sends."""
    secret = new_secret()
    database = Database(database_url)
    await KeyStore(database).add(
        key_id=uuid4().hex[:8], app="billing", digest=digest(secret), scopes=frozenset({"send"})
    )
    await database.close()
    return secret
