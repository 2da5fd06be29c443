"""Request coalescing: concurrent requests for one result share one computation of it. Generic.

Guarantee: whoever asks gets a result that was begun after it asked, so it is never stale.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")

REST = 0.001
"""Seconds between two that go on with the same result."""


class Shared(Generic[Result]):
    """Makes a result at most once in ``every`` seconds; who comes in between waits for the next.

    Who waited for the same result goes on one after the other: hundreds at once would hold up
    everybody else, and without a rest in between also the threads.
    """

    def __init__(self, make: Callable[[], Awaitable[Result]], *, every: float) -> None:
        self._make = make
        self._every = every
        self._not_before = 0.0
        self._next: asyncio.Task[Result] | None = None
        self._door = asyncio.Lock()

    async def get(self) -> Result:
        """A result of its own or with others. Raises what making it raised."""
        if self._next is None:
            self._next = asyncio.create_task(self._make_next())
        try:
            return await asyncio.shield(self._next)
        finally:
            async with self._door:
                await asyncio.sleep(REST)

    async def _make_next(self) -> Result:
        pause = self._not_before - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        self._next = None  # who asks from now on gets the one after this
        self._not_before = time.monotonic() + self._every
        return await self._make()
