"""Numbers for the console's overview: roll-ups of hours that are up to date, the rest counted.

The result is that of counting every message, at the cost of reading the range's hours, with one
exception: hours that have changed since their roll-up are counted here only if they are among those
of the newest messages, as many as can be counted for a page. Older ones are shown as they were
until a worker has counted them again, which takes seconds, or minutes where much has changed.
Roll-ups that no worker maintains are not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.london import LONDON
from app.store.any_of import any_of
from app.store.engine import Database
from app.store.rollups import (
    ORIGIN,
    REASON,
    SECONDS,
    STATUS,
    hour_of,
    hours_of_granules,
    newer_events,
    rounded,
    start_of,
)
from app.store.stats import Count, HourCount, StatsStore
from app.store.tables import rollup_counts, rollup_hours, rollups

COUNTED_HERE = 20_000
"""The newest messages, whose changed hours are counted here."""
ABANDONED_AFTER = timedelta(minutes=10)
"""If no worker has read the events for so long, roll-ups are not read: none maintains them."""
PATIENCE = 60.0
"""Seconds for the statement."""
_FIRST_DAY = datetime(1970, 1, 1).date()  # noqa: DTZ001  a date


@dataclass(slots=True)
class Totals:
    """Numbers of messages by status, and by hour, app, origin or reason."""

    by_hour: Counter[tuple[int, str]] = field(default_factory=Counter)
    by_app: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_origin: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_reason: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: Counter[int] = field(default_factory=Counter)
    """From submission to DELIVERED."""

    def counts(self, by: str) -> Sequence[Count]:
        """By hour, day (London's), app, origin or reason; times are in ``seconds`` alone."""
        if by == "day":
            days = {hour: _london_day(hour) for hour, _ in self.by_hour}
            of_days: Counter[tuple[int, str]] = Counter()
            for (hour, status), messages in self.by_hour.items():
                of_days[days[hour], status] += messages
            return _as_counts(of_days)
        found: dict[str, Counter[Any]] = {
            "hour": self.by_hour,
            "app": self.by_app,
            "origin": self.by_origin,
            "reason": self.by_reason,
        }
        return _as_counts(found[by])

    def add(self, one: HourCount) -> None:
        """Add what was counted."""
        self.by_hour[one.hour, one.status] += one.messages
        self.by_app[one.app, one.status] += one.messages
        self.by_origin[one.origin, one.status] += one.messages
        if one.reason is not None:
            self.by_reason[one.reason, one.status] += one.messages
        if one.seconds is not None:
            self.seconds[rounded(one.seconds)] += one.messages


class OverviewStore:
    """Reads only. Raises StoreUnavailable.

    ``counted_here``: of how many of the newest messages changed hours are counted here.
    """

    def __init__(
        self, database: Database, stats: StatsStore, *, counted_here: int = COUNTED_HERE
    ) -> None:
        self._database = database
        self._stats = stats
        self._counted_here = counted_here

    async def totals(self, *, app: str | None, start: datetime, end: datetime) -> Totals:
        """Totals of messages created from ``start`` on, which begins an hour, and before ``end``.
        ``app``: None is all apps.
        """
        found = Totals()
        hours = range(hour_of(start), hour_of(end - timedelta(microseconds=1)) + 1)
        async with self._database.read(patience=PATIENCE) as connection:
            rolled = await self._rolled(connection, hours)
            if rolled:
                await self._add_rolled(connection, found, app, sorted(rolled))
        for first, behind in _runs([hour for hour in hours if hour not in rolled]):
            until = min(end, start_of(behind))
            for one in await self._stats.by_hour(app=app, start=start_of(first), end=until):
                found.add(one)
        return found

    async def _rolled(self, connection: AsyncConnection, hours: range) -> set[int]:
        """The hours whose roll-ups are read."""
        kept = (await connection.execute(select(rollups.c.position, rollups.c.noted_at))).first()
        if kept is None or kept.noted_at < self._database.clock.now() - ABANDONED_AFTER:
            return set()
        news = await connection.execute(newer_events(kept.position))
        changed = hours_of_granules(row.granule for row in news)
        column = rollup_hours.c
        query = (
            select(column.hour, column.messages, (column.counted == column.changes).label("holds"))
            .where(column.hour >= hours.start, column.hour < hours.stop)
            .where(column.counted.is_not(None))
            .order_by(column.hour.desc())
        )
        # Everything from the oldest changed one of the newest hours on is counted, as one range.
        rows = (await connection.execute(query)).all()
        messages, counted_from = 0, hours.stop
        for row in rows:
            messages += row.messages
            if messages > self._counted_here:
                break
            if not row.holds or row.hour in changed:
                counted_from = row.hour
        return {row.hour for row in rows if row.hour < counted_from}

    async def _add_rolled(
        self, connection: AsyncConnection, found: Totals, app: str | None, hours: Sequence[int]
    ) -> None:
        column = rollup_counts.c
        wanted: tuple[tuple[str, ColumnElement[Any], Counter[Any]], ...] = (
            (STATUS, column.hour, found.by_hour),
            (STATUS, column.app, found.by_app),
            (ORIGIN, column.key, found.by_origin),
            (REASON, column.key, found.by_reason),
        )
        these = any_of(column.hour, "hours", is_sqlite=self._database.is_sqlite)
        of_app = () if app is None else (column.app == app,)
        given = {"hours": list(hours)}
        total = func.sum(column.messages)
        for kind, key, counter in wanted:
            query = select(key, column.status, total).where(column.kind == kind, these, *of_app)
            for value, status, messages in await connection.execute(
                query.group_by(key, column.status), given
            ):
                counter[value, status] += messages
        times = select(column.key, total).where(column.kind == SECONDS, these, *of_app)
        for row in await connection.execute(times.group_by(column.key), given):
            found.seconds[int(row[0])] += row[1]


def _as_counts(counter: Counter[Any]) -> list[Count]:
    return [Count(key, status, None, messages) for (key, status), messages in counter.items()]


def _london_day(hour: int) -> int:
    """London's clocks change at a full hour of UTC."""
    return (start_of(hour).astimezone(LONDON).date() - _FIRST_DAY).days


def _runs(hours: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first hour of each run without a gap, and the one behind its last."""
    begin = 0
    for place in range(1, len(hours) + 1):
        if place == len(hours) or hours[place] != hours[place - 1] + 1:
            yield hours[begin], hours[place - 1] + 1
            begin = place
