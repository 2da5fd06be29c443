"""Notifications of new work: in this process at once, in other replicas by LISTEN and NOTIFY.

They are hints: a listener also polls from time to time, because a notification can be lost. SQLite
has no LISTEN, and behind a pooler it does not work: there replicas only poll.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.parts.lifecycle import wait_for_event
from app.store.engine import Database

CHANNEL = "dlr_wakeups"
COALESCE = 0.05
"""Seconds between notifications to other replicas: under load one replaces many."""
RECONNECT_AFTER = 1.0

STILL_THERE_EVERY = 5.0
"""Seconds without a notification after which one is sent as a keepalive: a connection that only
listens would not notice that its link is dead."""
STILL_THERE = "still-there"

EVENTS = "events"
"""Status changes were committed."""
QUEUE = "queue"
"""Messages wait to be sent."""
WEBHOOKS = "webhooks"
"""A webhook was changed, or has something to deliver."""

log = structlog.get_logger(__name__)


class Wakeups:
    """Topics and their listeners. No other replica is notified before ``run`` runs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: dict[str, set[Callable[[], None]]] = {}
        self._pending: set[str] = set()
        self._due = asyncio.Event()

    def listen(self, topic: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` on the event loop at every notification; returns how to stop that."""
        self._listeners.setdefault(topic, set()).add(callback)
        return lambda: self._listeners[topic].discard(callback)

    def announce(self, topic: str) -> None:
        """Notify listeners of something new, which is committed. No I/O: ``run`` does that."""
        self._call(topic)
        if self._database.can_listen:
            self._pending.add(topic)
            self._due.set()

    async def run(self) -> None:
        """Send announcements to the other replicas and receive theirs. Runs until cancelled."""
        if not self._database.can_listen:
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
        """The topics to announce; only a keepalive if there were none for STILL_THERE_EVERY."""
        if not await wait_for_event(self._due, STILL_THERE_EVERY):
            return {STILL_THERE}
        self._due.clear()
        topics, self._pending = self._pending, set()
        return topics

    def _heard(self, _connection: Any, _process: int, _channel: str, topic: str) -> None:
        self._call(topic)

    def _call(self, topic: str) -> None:
        for callback in tuple(self._listeners.get(topic, ())):
            callback()
