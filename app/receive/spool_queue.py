"""The spool for asyncio: its blocking calls run in one thread, its appends in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from app.errors import ConfigurationError, Unavailable
from app.model.receipt import Arrival
from app.parts.batcher import Batcher, BatcherClosed, BatcherFull
from app.receive.spool import Spool

LARGEST_BATCH = 1_000
CAPACITY = 10_000
"""Appends that may wait for the disk; beyond it callers get Unavailable."""

Answer = TypeVar("Answer")

log = structlog.get_logger(__name__)


class SpoolQueue:
    """Async interface of a Spool. ``append`` has its guarantee: on disk when it returns."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._appends: Batcher[Sequence[Arrival], None] = Batcher(
            self._append, largest=LARGEST_BATCH, capacity=CAPACITY
        )
        self.filled = asyncio.Event()
        """Set whenever something was appended; the drainer clears it."""
        self.reason: str | None = None
        """For ``/readyz``, if the last append failed; names no path, as anybody may read it."""

    def open(self) -> None:
        """Create the file. A failure is logged, and every append retries.

        The command refuses to start without a spool; this is for a process that replaces another.
        """
        try:
            self._spool.open()
        except ConfigurationError as error:
            self._report(error.detail)
        self.filled.set()

    async def append(self, arrivals: Sequence[Arrival]) -> None:
        """Put arrivals on disk. Raises Unavailable."""
        try:
            await self._appends.submit(arrivals)
        except BatcherFull:
            raise Unavailable("Too many receipts wait for the disk") from None
        except BatcherClosed:
            raise Unavailable("The service is shutting down") from None

    async def oldest(self, limit: int) -> list[tuple[int, Arrival]]:
        """Up to ``limit`` arrivals with their numbers, oldest first. Raises Unavailable."""
        return await self._call(lambda: self._spool.oldest(limit))

    async def forget(self, up_to: int) -> None:
        """Delete what ``oldest`` returned, up to this sequence number. Raises Unavailable."""
        await self._call(lambda: self._spool.forget(up_to))

    async def tidy(self) -> None:
        """Give disk space back once all is drained. Raises Unavailable."""
        await self._call(self._spool.tidy)

    async def cleanse(self) -> bool:
        """Give back the disk space of what was drained, so that nothing of it can be read there.

        Returns whether nothing waits any more. Raises Unavailable.
        """
        return await self._call(self._spool.cleanse)

    async def depth(self) -> int:
        """How many arrivals wait. Raises Unavailable."""
        return await self._call(self._spool.depth)

    async def close(self) -> None:
        """Write what was submitted, then close the file."""
        await self._appends.close()
        await self._call(self._spool.close)
        self._thread.shutdown(wait=False)

    async def _append(self, groups: Sequence[Sequence[Arrival]]) -> Sequence[None]:
        arrivals = [arrival for group in groups for arrival in group]
        try:
            await self._call(lambda: self._spool.append(arrivals))
        except Unavailable as error:
            self._report(error.detail)
            raise
        self._report(None)
        self.filled.set()
        return [None] * len(groups)

    def _report(self, reason: str | None) -> None:
        if (reason is None) != (self.reason is None):  # only on a change
            log.error("spool_fails" if reason else "spool_works", reason=reason)
        self.reason = "it cannot be written; the log says why" if reason else None

    async def _call(self, function: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)
