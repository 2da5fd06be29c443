"""Keeps the gauges of this process current: the database, the spool, the clock, the connections."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from app.errors import Unavailable
from app.model.alarm import Alarm, AlarmName, Counts
from app.ops.metrics import Metrics
from app.receive.spool_queue import SpoolQueue
from app.store.clock import DatabaseClock
from app.store.engine import Database
from app.store.watch import DatabaseWatch

LITTLE_ROOM = 64 * 1024 * 1024
"""Free bytes of the spool's disk under which it is nearly full."""
EVERY = 2.0
"""Seconds between refreshes: how old these are in a scrape that another process answers."""


@dataclass(frozen=True, slots=True)
class SpoolState:
    """How many receipts wait, the age of the oldest in seconds, and the disk's free bytes; None
    where it cannot be told."""

    depth: int | None = None
    oldest: float = 0.0
    free: int | None = None

    @property
    def has_little_room(self) -> bool:
        """Whether its disk is nearly full, while there is still time to make room."""
        return self.free is not None and self.free < LITTLE_ROOM


class Gauges:
    """``refresh`` never raises. ``has_spool`` is False in a process that takes no receipts."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        watch: DatabaseWatch,
        clock: DatabaseClock,
        databases: tuple[Database, ...],
        is_circuit_open: Callable[[], bool],
        spool: SpoolQueue,
        folder: Path,
    ) -> None:
        self._metrics = metrics
        self._watch = watch
        self._clock = clock
        self._databases = databases
        self._is_circuit_open = is_circuit_open
        self._spool = spool
        self.has_spool = True
        self._folder = folder
        self.spool = SpoolState()
        self.show(Counts(), [])

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(EVERY)

    async def refresh(self) -> None:
        """Set them to what is now."""
        metrics = self._metrics
        metrics.database_up.set(1 if self._watch.is_up else 0)
        metrics.clock_offset.set(self._clock.host_ahead)
        metrics.pool_in_use.set(sum(one.connections_in_use for one in self._databases))
        metrics.circuit_open.set(1 if self._is_circuit_open() else 0)
        if self.has_spool:
            self.spool = await self._look_at_spool(self._clock.now())
            depth = self.spool.depth
            metrics.spool_depth.set(float("nan") if depth is None else depth)
            metrics.spool_oldest.set(self.spool.oldest)
            metrics.spool_free.set(float("nan") if self.spool.free is None else self.spool.free)

    def show(self, counts: Counts, alarms: Sequence[Alarm]) -> None:
        """Set those that are counted once for all replicas."""
        metrics = self._metrics
        metrics.queue_depth.set(counts.queued)
        metrics.queue_oldest.set(counts.due_for)
        metrics.messages.labels("SENDING").set(counts.sending)
        metrics.messages.labels("UNCONFIRMED").set(counts.unconfirmed)
        metrics.messages.labels("overdue").set(counts.overdue)
        metrics.unmatched.set(counts.unmatched)
        metrics.webhook_backlog.set(counts.webhook_backlog)
        metrics.webhooks_paused.set(counts.webhooks_paused)
        up = {one.name for one in alarms if one.ended_at is None}
        for name in AlarmName:
            metrics.alarms.labels(name).set(1 if name in up else 0)

    async def _look_at_spool(self, now: datetime) -> SpoolState:
        try:
            free: int | None = shutil.disk_usage(self._folder).free
        except OSError:
            free = None
        try:
            depth = await self._spool.depth()
            oldest = await self._spool.oldest(1) if depth else []
        except Unavailable:
            return SpoolState(free=free)
        age = (now - oldest[0][1].received_at).total_seconds() if oldest else 0.0
        return SpoolState(depth, max(0.0, age), free)
