"""Request coalescing: concurrent requests for one result share one computation of it. Generic.

Guarantee: a caller gets a result whose computation began after the call, so it is never stale.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")

REST = 0.001
"""Seconds between resuming two callers that share a result."""


class Shared(Generic[Result]):
    """Calls ``make`` at most once in ``every`` seconds; callers in between wait for the next call.

    Callers that share a result are resumed one after the other: hundreds in one iteration of the
    event loop would delay all other requests, and without REST in between also the threads.
    """

    def __init__(self, make: Callable[[], Awaitable[Result]], *, every: float) -> None:
        self._make = make
        self._every = every
        self._not_before = 0.0
        self._next: asyncio.Task[Result] | None = None
        self._resuming = asyncio.Lock()

    async def get(self) -> Result:
        """The result, perhaps shared with other callers. Raises what ``make`` raised."""
        if self._next is None:
            self._next = asyncio.create_task(self._make_next())
        try:
            return await asyncio.shield(self._next)
        finally:
            async with self._resuming:
                await asyncio.sleep(REST)

    async def _make_next(self) -> Result:
        pause = self._not_before - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        self._next = None  # whoever calls from now on gets a later result
        self._not_before = time.monotonic() + self._every
        return await self._make()
