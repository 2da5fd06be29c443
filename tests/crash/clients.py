"""Clients that go on sending receipts, whatever happens to the service, until they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from tests.crash.ledger import Ledger
from tests.crash.waiting import until
from tests.support.load import Result, drive

TICK = 0.02
PATIENCE = 60.0
"""Seconds that a client tries to reach a service that is down."""


class Clients:
    """``async with``: they send in the background, and on leaving wait for their last answers."""

    def __init__(
        self,
        port: int,
        ledger: Ledger,
        *,
        per_second: int = 300,
        connections: int = 16,
        patience: float = PATIENCE,
    ) -> None:
        self.ledger = ledger
        self.result = Result()
        self._port = port
        self._per_tick = per_second * TICK
        self._connections = connections
        self._patience = patience
        self._first = len(ledger.attempts)
        self._stopped = asyncio.Event()
        self._held = False
        self._load: asyncio.Task[Result] | None = None

    async def __aenter__(self) -> Self:
        self._load = asyncio.create_task(
            drive(
                "127.0.0.1",
                self._port,
                self._requests(),
                self._connections,
                self._on_answer,
                reconnect=True,
                patience=self._patience,
            )
        )
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        if self._load is not None:
            self.result = await self._load

    def hold(self) -> None:
        """Send nothing new for now."""
        self._held = True

    def go_on(self) -> None:
        """Send again."""
        self._held = False

    async def answered(self, more: int, *, within: float) -> None:
        """Return when so many more attempts were answered 200."""
        wanted = self.ledger.acknowledged + more
        await until(lambda: self.ledger.acknowledged >= wanted, within=within)

    def _on_answer(self, index: int, status: int, seconds: float) -> None:
        self.ledger.on_answer(self._first + index, status, seconds)

    async def _requests(self) -> AsyncIterator[bytes]:
        due = 0.0
        while not self._stopped.is_set():
            due = 0.0 if self._held else due + self._per_tick
            while due >= 1 and not self._held and not self._stopped.is_set():
                due -= 1
                yield self.ledger.next_request()
            await asyncio.sleep(TICK)
