"""Reports this process's state; one process at a time evaluates all reports and raises the alarms.

The database gives out the turns, and holds the alarms that are up, so each is raised and ended once
whichever process evaluates.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.model.alarm import Alarm, Counts, Report
from app.ops.alarms.rules import Memory, Situation, evaluate
from app.ops.gauges import Gauges
from app.ops.recent import Recent
from app.store.clock import DatabaseClock
from app.store.engine import Database
from app.store.operations import OperationsStore, SharedState
from app.store.table_counts import count_tables

MISSED = 2.5
"""Intervals after which a process that has not reported counts as gone."""

log = structlog.get_logger(__name__)


class AlarmWatch:
    """Runs in every process. ``every``: seconds between two looks."""

    def __init__(
        self,
        *,
        store: OperationsStore,
        database: Database,
        gauges: Gauges,
        recent: Recent,
        clock: DatabaseClock,
        every: float,
        silence_after: float,
        overdue_after: timedelta,
        marks: Callable[[str], list[str]],
        on_queued: Callable[[], None],
    ) -> None:
        """``marks``: ``CallbackHeaders.marks``. ``on_queued`` is called when deliveries to webhooks
        were queued.
        """
        self._store = store
        self._database = database
        self._gauges = gauges
        self._recent = recent
        self._clock = clock
        self._every = timedelta(seconds=every)
        self._silence_after = silence_after
        self._overdue_after = overdue_after
        self._marks = marks
        self._on_queued = on_queued
        self._process = uuid4()
        self._host = socket.gethostname()
        self._turn = -1
        self._forgot_at = 0.0
        self.works = False
        """Whether this process sends what is queued."""

    async def run(self) -> None:
        """Report and look until cancelled."""
        while True:
            try:
                await self.look()
            except (StoreUnavailable, StoreRefused) as error:
                log.warning("alarms_wait", reason=error.detail)
            except Exception:
                log.exception("alarms_failed")
            await asyncio.sleep(self._every.total_seconds())

    async def close(self) -> None:
        """Withdraw the report: this process does nothing any more."""
        with suppress(StoreUnavailable, StoreRefused):
            await self._store.sign_off(self._process)

    async def look(self) -> None:
        """Report; where it is this process's turn, evaluate all alarms. Raises StoreUnavailable."""
        now = self._clock.now()
        await self._gauges.refresh()
        shared = await self._store.report(self._process, self._report(), now=now, every=self._every)
        self._notice_loss(shared, now)
        memory = _memory_of(shared.state)
        alarms = shared.alarms
        if shared.is_mine:
            alarms = await self._evaluate(shared.turn, memory, now)
        self._gauges.show(Counts(**memory.counts), alarms)

    async def _evaluate(self, turn: int, memory: Memory, now: datetime) -> Sequence[Alarm]:
        counts = await count_tables(self._database, now=now, overdue_after=self._overdue_after)
        reports = await self._store.reports(since=now - MISSED * self._every)
        memory.learn(now.timestamp(), reports, counts)
        up = evaluate(Situation(now.timestamp(), reports, counts, memory, self._silence_after))
        conclusion = await self._store.conclude(turn, asdict(memory), up, now=now)
        if conclusion.is_told:
            self._on_queued()
        for alarm in conclusion.changed:
            if alarm.ended_at is None:
                log.error("alarm_began", alarm=alarm.name, detail=alarm.detail)
            else:
                log.info("alarm_ended", alarm=alarm.name)
        return conclusion.alarms

    def _report(self) -> Report:
        recent, spool = self._recent, self._gauges.spool
        lags, lag = recent.lag()
        return Report(
            host=self._host,
            works=self.works,
            last_receipt_at=recent.last_receipt_at,
            last_submission_at=recent.last_submission_at,
            credentials_refused_at=recent.credentials_refused_at,
            forgot_at=self._forgot_at,
            refusals=recent.refusals(),
            lags=lags,
            lag=lag,
            spooled=spool.depth or 0,
            spool_oldest=spool.oldest,
            spool_free=spool.free,
            clock_ahead=self._clock.host_ahead,
            receives=self._gauges.has_spool,
            salt=self._process.hex,
            secrets=self._marks(self._process.hex),
        )

    def _notice_loss(self, shared: SharedState, now: datetime) -> None:
        """The number of the turn only grows, unless the database was set back."""
        if shared.turn < self._turn:
            self._forgot_at = now.timestamp()
            log.error("database_forgot", consequence="see docs/operations.md, database-forgot")
        self._turn = shared.turn


def _memory_of(state: dict[str, Any]) -> Memory:
    """The memory in ``state``; an empty one where another release has stored another form."""
    try:
        memory = Memory(**state)
        memory.history = [(at, one, other) for at, one, other in memory.history]
        Counts(**memory.counts)
    except (TypeError, ValueError):
        return Memory()
    return memory
