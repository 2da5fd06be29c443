"""Apps that send with idempotency keys, repeat some requests, and note what they are told."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.support.background import Background

PAUSE = 0.03
TRIES = 100
REPEATS = 0.3
"""The share of requests that repeat an earlier one."""
WITHOUT_RECEIPT = "447700900105"


@dataclass(slots=True)
class Asked:
    """A request, and every body that it was answered with."""

    key: str
    fields: dict[str, Any]
    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    @property
    def told(self) -> set[str]:
        """The ids that it was answered with, where it was taken."""
        return {body["id"] for status, body in self.answers if status in (201, 202)}


class KeyedSenders(Background):
    """``async with``: they send to several replicas, and on leaving wait for their last answers."""

    def __init__(self, ports: list[int], key: str, *, connections: int = 6, seed: int = 0) -> None:
        super().__init__(connections)
        self.ports = ports
        self.asked: list[Asked] = []
        self._headers = {"Authorization": f"Bearer {key}"}
        self._random = random.Random(seed)

    @property
    def statuses(self) -> Counter[int]:
        """How many answers of each status there were; 0 is none."""
        return Counter(status for one in self.asked for status, _ in one.answers)

    async def repeat_all(self, port: int) -> None:
        """Every request that was taken, once more: what it is told is noted beside the rest."""
        async with self._client() as client:
            for one in self.asked:
                if one.told:
                    for _ in range(TRIES):
                        if (await self._ask(client, one, port)) not in (0, 503, 409):
                            break
                        await asyncio.sleep(0.2)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(headers=self._headers, timeout=40, trust_env=False)

    async def work(self) -> None:
        """One app, or one connection of it."""
        async with self._client() as client:
            while not self.stopped.is_set():
                if self.asked and self._random.random() < REPEATS:
                    one = self._random.choice(self.asked[-50:])
                else:
                    key = uuid4().hex
                    fields = {"origin": "447923221231", "destination": WITHOUT_RECEIPT}
                    one = Asked(key, {**fields, "message": f"text {key}"})
                    self.asked.append(one)
                await self._ask(client, one, self._random.choice(self.ports))
                await asyncio.sleep(PAUSE)

    async def _ask(self, client: httpx.AsyncClient, one: Asked, port: int) -> int:
        try:
            answer = await client.post(
                f"http://127.0.0.1:{port}/v1/messages",
                json=one.fields,
                headers={"Idempotency-Key": one.key},
            )
        except httpx.HTTPError:
            one.answers.append((0, {}))
            return 0
        one.answers.append((answer.status_code, answer.json()))
        return answer.status_code
