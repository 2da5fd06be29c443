"""The spool for the event loop: its blocking calls in one thread, its appends in groups."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.batcher import Batcher, BatcherClosed, BatcherFull
from app.errors import Unavailable
from app.model.receipt import Arrival
from app.receive.spool import Spool

LARGEST_BATCH = 1_000
CAPACITY = 10_000
"""Arrivals that may wait for the disk; with more, callers are told to come back."""

Answer = TypeVar("Answer")


class SpoolQueue:
    """Async face of a Spool. ``append`` has its guarantee: on disk when it returns."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._appends: Batcher[Sequence[Arrival], None] = Batcher(
            self._append, largest=LARGEST_BATCH, capacity=CAPACITY
        )
        self.filled = asyncio.Event()
        """Set whenever something was appended; the drainer clears it."""

    def open(self) -> None:
        """Make the file, or raise ConfigurationError."""
        self._spool.open()
        self.filled.set()

    async def append(self, arrivals: Sequence[Arrival]) -> None:
        """Put arrivals on disk. Raises Unavailable."""
        try:
            await self._appends.submit(arrivals)
        except (BatcherFull, BatcherClosed):
            raise Unavailable("Too many receipts wait for the disk") from None

    async def oldest(self, limit: int) -> list[tuple[int, Arrival]]:
        """Up to ``limit`` arrivals with their sequence numbers, oldest first."""
        return await self._call(lambda: self._spool.oldest(limit))

    async def forget(self, up_to: int) -> None:
        """Delete everything up to this sequence number."""
        await self._call(lambda: self._spool.forget(up_to))

    async def depth(self) -> int:
        """How many arrivals wait."""
        return await self._call(self._spool.depth)

    async def close(self) -> None:
        """Write what is in hand, then close the file."""
        await self._appends.close()
        await self._call(self._spool.close)
        self._thread.shutdown()

    async def _append(self, groups: Sequence[Sequence[Arrival]]) -> Sequence[None]:
        arrivals = [arrival for group in groups for arrival in group]
        await self._call(lambda: self._spool.append(arrivals))
        self.filled.set()
        return [None] * len(groups)

    async def _call(self, function: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)
