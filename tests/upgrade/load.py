"""Receipts and sends to one replica, steadily, until they are told to stop."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self

from tests.crash.ledger import Ledger
from tests.support.load import Result, drive, post

RECEIPTS, SENDS = 40, 10
"""Each second, to each replica."""


class Load:
    """``async with``: both go on in the background; on leaving, every one has had its answer."""

    def __init__(self, port: int, ledger: Ledger, key: str) -> None:
        self.ledger = ledger
        self.sends: Counter[int] = Counter()
        self.refusals: list[bytes] = []
        self.errors: Counter[str] = Counter()
        self._port = port
        self._key = key
        self._first = len(ledger.attempts)
        self._stopped = asyncio.Event()
        self._tasks: list[asyncio.Task[Result]] = []

    async def __aenter__(self) -> Self:
        for make, per_second, on_answer, on_body in (
            (self.ledger.next_request, RECEIPTS, self._on_receipt, None),
            (self._send, SENDS, self._on_send, self._on_body),
        ):
            requests = self._steadily(make, per_second)
            load = drive("127.0.0.1", self._port, requests, 8, on_answer, on_body=on_body)
            self._tasks.append(asyncio.create_task(load))
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        for result in await asyncio.gather(*self._tasks):
            self.errors += result.errors

    def _send(self) -> bytes:
        body = {"origin": "Upgrade", "destination": "447700900123", "message": "Hello"}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        return post("/v1/messages", headers, json.dumps(body).encode())

    def _on_receipt(self, index: int, status: int, seconds: float) -> None:
        self.ledger.on_answer(self._first + index, status, seconds)

    def _on_send(self, _index: int, status: int, _seconds: float) -> None:
        self.sends[status] += 1

    def _on_body(self, _index: int, body: bytes) -> None:
        if b"urn:iovox-receipts:problem" in body:
            self.refusals.append(body)

    async def _steadily(self, make: Callable[[], bytes], per_second: int) -> AsyncIterator[bytes]:
        while not self._stopped.is_set():
            yield make()
            await asyncio.sleep(1 / per_second)
