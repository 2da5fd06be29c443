"""Says that there is something new, here at once and in other replicas a moment later.

A hint and no more: whoever waits for one also looks by itself from time to time, because a
notification can be lost, and SQLite has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.parts.lifecycle import woken
from app.store.engine import Database

CHANNEL = "dlr_wakeups"
COALESCE = 0.05
"""Seconds between notifications to other replicas: under load one stands for many."""
RECONNECT_AFTER = 1.0

STILL_THERE_EVERY = 5.0
"""Seconds after which a silent connection is tried: a dead one hears nothing and says nothing."""
STILL_THERE = "still-there"

EVENTS = "events"
"""Status changes were committed."""
QUEUE = "queue"
"""Messages wait to be sent."""
WEBHOOKS = "webhooks"
"""A webhook was changed, or there is something to send to it."""

log = structlog.get_logger(__name__)


class Wakeups:
    """Topics, and who wants to hear of them. Nothing is sent before ``run`` runs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: dict[str, set[Callable[[], None]]] = {}
        self._pending: set[str] = set()
        self._due = asyncio.Event()

    def listen(self, topic: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called on the event loop at every wake-up; answers how to stop it."""
        self._listeners.setdefault(topic, set()).add(callback)
        return lambda: self._listeners[topic].discard(callback)

    def announce(self, topic: str) -> None:
        """There is something new: it is committed. Costs next to nothing."""
        self._call(topic)
        if not self._database.is_sqlite:
            self._pending.add(topic)
            self._due.set()

    async def run(self) -> None:
        """Carry announcements to the other replicas and theirs to us. Runs until cancelled."""
        if self._database.is_sqlite:
            return
        while True:
            try:
                async with self._database.listening(CHANNEL, self._heard) as notify:
                    while True:
                        topics = await self._next_topics()
                        for topic in topics:
                            await notify(topic)
                        await asyncio.sleep(COALESCE)
            except (StoreUnavailable, StoreRefused) as error:
                log.warning("wakeups_interrupted", reason=error.detail, consequence="polling")
            await asyncio.sleep(RECONNECT_AFTER)

    async def _next_topics(self) -> set[str]:
        """What to announce; at times only that we are still there, to find a dead connection."""
        if not await woken(self._due, STILL_THERE_EVERY):
            return {STILL_THERE}
        self._due.clear()
        topics, self._pending = self._pending, set()
        return topics

    def _heard(self, _connection: Any, _process: int, _channel: str, topic: str) -> None:
        self._call(topic)

    def _call(self, topic: str) -> None:
        for callback in tuple(self._listeners.get(topic, ())):
            callback()
