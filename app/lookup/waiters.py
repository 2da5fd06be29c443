"""Waiters for status changes: long polling without a query or a connection per waiter.

A notification from the database triggers one query for the statuses of all waiters. Notifications
may be lost, so the statuses are also polled every second.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Generic, TypeVar

import structlog

from app.errors import StoreRefused, StoreUnavailable, TooManyRequests
from app.parts.lifecycle import wait_for_event

POLL_INTERVAL = 1.0
"""Seconds between two queries without a notification."""
MIN_POLL_INTERVAL = 0.05
"""Seconds between two queries at least, however many notifications come."""
MAX_WAITERS = 10_000

Key = TypeVar("Key")

log = structlog.get_logger(__name__)


class StatusWaiters(Generic[Key]):
    """``statuses`` returns the current statuses of keys. Nothing is checked before ``run`` runs.

    ``is_closed``: the process is shutting down, and no long operation should start.
    """

    def __init__(
        self,
        statuses: Callable[[Collection[Key]], Awaitable[Mapping[Key, str]]],
        capacity: int = MAX_WAITERS,
        max_of_a_caller: int | None = None,
    ) -> None:
        """``capacity`` may wait at once, ``max_of_a_caller`` of them for one (None: all)."""
        self._statuses = statuses
        self._capacity = capacity
        self._max_of_a_caller = max_of_a_caller or capacity
        self._of_callers: Counter[str] = Counter()
        self._waiting: dict[asyncio.Future[None], tuple[Key, str]] = {}
        self._wake = asyncio.Event()
        self.is_closed = False

    async def wait_for_change(
        self,
        key: Key,
        status: str,
        timeout: float,  # noqa: ASYNC109
        *,
        caller: str = "",
    ) -> None:
        """Return when the status is not ``status``, after ``timeout`` seconds, or at shutdown.

        Returns at once if there are too many waiters: clients of long polling repeat the request.
        Raises TooManyRequests where too many are this caller's.
        """
        if self.is_closed or len(self._waiting) >= self._capacity:
            return
        if self._of_callers[caller] >= self._max_of_a_caller:
            why = f"{self._max_of_a_caller} requests with this key wait already"
            raise TooManyRequests(why, retry_after=1)
        self._of_callers[caller] += 1
        changed = asyncio.get_running_loop().create_future()
        self._waiting[changed] = key, status
        self._wake.set()  # the status may have changed since the caller read it
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await changed
        finally:
            del self._waiting[changed]
            self._of_callers[caller] -= 1
            if not self._of_callers[caller]:
                del self._of_callers[caller]

    def wake(self) -> None:
        """Check the statuses: some message has changed."""
        self._wake.set()

    def close(self) -> None:
        """Release all waiters and accept no new ones: a stopping server waits for its requests."""
        self.is_closed = True
        for changed in self._waiting:
            _release(changed)

    async def run(self) -> None:
        """Check for changes until cancelled."""
        while True:
            await self._sleep()
            try:
                await self._check()
            except (StoreUnavailable, StoreRefused) as error:
                log.warning("status_poll_failed", reason=error.detail)

    async def _sleep(self) -> None:
        await asyncio.sleep(MIN_POLL_INTERVAL)
        await wait_for_event(self._wake, POLL_INTERVAL if self._waiting else None)
        self._wake.clear()

    async def _check(self) -> None:
        waiting = dict(self._waiting)
        if not waiting:
            return
        now = await self._statuses({key for key, _ in waiting.values()})
        for changed, (key, status) in waiting.items():
            if now.get(key, status) != status:
                _release(changed)


def _release(changed: asyncio.Future[None]) -> None:
    if not changed.done():
        changed.set_result(None)
