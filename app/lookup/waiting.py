"""Holds callers until the status of their message changes. Generic but for the word 'status'.

However many wait, the database sees one query a wake-up, and none of them holds a connection. A
wake-up may be lost, so there is a look every second besides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from typing import Generic, TypeVar

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.parts.lifecycle import wait_for_event

LOOK_EVERY = 1.0
PAUSE = 0.05
"""Seconds between two looks, however many wake-ups come."""
CAPACITY = 10_000

Key = TypeVar("Key")

log = structlog.get_logger(__name__)


class WaitingRoom(Generic[Key]):
    """``statuses`` answers the statuses, now, of some keys. Nobody is woken before ``run`` runs.

    ``is_closed``: we shut down, and nothing is to be begun that takes long.
    """

    def __init__(self, statuses: Callable[[Collection[Key]], Awaitable[Mapping[Key, str]]]) -> None:
        self._statuses = statuses
        self._waiting: dict[asyncio.Future[None], tuple[Key, str]] = {}
        self._wake = asyncio.Event()
        self.is_closed = False

    async def until_changed(self, key: Key, status: str, seconds: float) -> None:
        """Return when the status is another one, after so many seconds, or when we shut down.

        At once where too many wait already: a caller asks again anyway.
        """
        if self.is_closed or len(self._waiting) >= CAPACITY:
            return
        changed = asyncio.get_running_loop().create_future()
        self._waiting[changed] = key, status
        self._wake.set()  # it may have changed since the caller looked
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await changed
        finally:
            del self._waiting[changed]

    def wake(self) -> None:
        """Some status has changed."""
        self._wake.set()

    def close(self) -> None:
        """Let everybody go, and hold nobody any more: a server waits for open requests."""
        self.is_closed = True
        for changed in self._waiting:
            _release(changed)

    async def run(self) -> None:
        """Look for changes until cancelled."""
        while True:
            await self._sleep()
            try:
                await self._look()
            except (StoreUnavailable, StoreRefused) as error:
                log.warning("waiting_room_cannot_look", reason=error.detail)

    async def _sleep(self) -> None:
        await asyncio.sleep(PAUSE)
        await wait_for_event(self._wake, LOOK_EVERY if self._waiting else None)
        self._wake.clear()

    async def _look(self) -> None:
        asked = dict(self._waiting)
        if not asked:
            return
        now = await self._statuses({key for key, _ in asked.values()})
        for changed, (key, status) in asked.items():
            if now.get(key, status) != status:
                _release(changed)


def _release(changed: asyncio.Future[None]) -> None:
    if not changed.done():
        changed.set_result(None)
