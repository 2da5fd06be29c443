"""Work that goes on in the background of a test until it is told to stop."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Background:
    """``async with``: ``work`` runs several times at once, and on leaving is waited for. It ends
    by itself once ``stopped`` is set.
    """

    def __init__(self, times: int) -> None:
        self.stopped = asyncio.Event()
        self._times = times
        self._tasks: list[asyncio.Task[None]] = []

    async def work(self) -> None:
        """What goes on."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self.work()) for _ in range(self._times)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopped.set()
        await asyncio.gather(*self._tasks)
