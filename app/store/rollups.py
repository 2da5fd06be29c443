"""Maintains roll-ups: the numbers of messages of each hour by status, app, origin and reason.

An hour is counted anew as a whole, from the messages, so a roll-up cannot drift from them. A change
of a message writes an event in the same transaction, and events have numbers in commit order, so
a reader of the log misses no change. What writes no event marks its hours itself: a purge, and
bringing messages back. SENDING has no event either: such a message may be counted as QUEUED, or the
other way round, until its outcome has one.

A mark raises the hour's ``changes``. A count is stored with the value of ``changes`` from before it
began, and holds while that stays: no lock is held while counting, and any number of processes may
count at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, Text, cast, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.engine import Database
from app.store.lists.store import OLDER, YOUNGER
from app.store.stats import HourCount, StatsStore
from app.store.tables import events, messages, rollup_counts, rollup_hours, rollups
from app.store.upsert import upsert

HOUR = timedelta(hours=1)
KEPT = timedelta(days=32)
"""Somewhat longer than the longest range of the overview."""
SETTLED = timedelta(minutes=2)
"""Time from the end of an hour until it is counted: most of its messages are final by then."""
AT_ONCE = 20_000
"""Events that are read in one statement."""
PATIENCE = 30.0
UNDECIDED = 48
"""The latest hours, which are counted even if no message is that old: one that a journal is
bringing back at this moment is not visible yet, and cannot mark an hour that has no row."""
EXACT = 120
"""Seconds to delivery up to which they are exact; longer ones are rounded up, by 3 % at most."""

STATUS, REASON, ORIGIN, SECONDS = "status", "reason", "origin", "seconds"
"""The kinds of counts."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GRANULE = timedelta(milliseconds=1 << 16)
"""The time span of the UUIDs of version 7 that begin with the same eight digits."""
_POSITION = 1


@dataclass(frozen=True, slots=True)
class StaleHour:
    """An hour to be counted. ``changes``: its value before the count begins."""

    hour: int
    changes: int
    messages: int | None


class RollupStore:
    """Raises StoreUnavailable. Times are the database's."""

    def __init__(self, database: Database, stats: StatsStore) -> None:
        self._database = database
        self._stats = stats
        self.now = database.clock.now

    async def notice(self) -> bool:
        """Mark the hours whose messages have changed, by events, and add hours that have ended.

        Returns whether there are more events to read.
        """
        now = self.now()
        async with self._database.write(patience=PATIENCE) as connection:
            position = await _begin(connection, now)
            news = (await connection.execute(newer_events(position))).all()
            await _keep(connection, hour_of(now - KEPT), hour_of(now - SETTLED), now)
            await mark(connection, hours_of_granules(row.granule for row in news))
            newest = max((row.newest for row in news), default=position)
            moved = update(rollups).where(rollups.c.id == _POSITION)
            await connection.execute(moved.values(position=newest, noted_at=now))
        return sum(int(row.events) for row in news) == AT_ONCE

    async def stale(self, limit: int) -> Sequence[StaleHour]:
        """Hours to count: those never counted, the newest first, then the longest ago counted."""
        column = rollup_hours.c
        is_stale = or_(column.counted.is_(None), column.counted != column.changes)
        query = (
            select(column.hour, column.changes, column.messages)
            .where(is_stale)
            .order_by(column.counted_at.asc().nulls_first(), column.hour.desc())
            .limit(limit)
        )
        async with self._database.read(patience=PATIENCE) as connection:
            return [StaleHour(*row) for row in await connection.execute(query)]

    async def count(self, stale: StaleHour) -> int:
        """Count an hour; returns its messages."""
        start = start_of(stale.hour)
        found = await self._stats.by_hour(app=None, start=start, end=start + HOUR)
        total = sum(one.messages for one in found)
        column = rollup_hours.c
        async with self._database.write(patience=PATIENCE) as connection:
            counted = await connection.execute(
                update(rollup_hours)
                .where(column.hour == stale.hour)
                .values(counted=stale.changes, counted_at=self.now(), messages=total)
            )
            before = rollup_counts.c.hour == stale.hour
            kinds = rollup_counts.c.kind.in_((STATUS, REASON, ORIGIN, SECONDS))
            await connection.execute(delete(rollup_counts).where(kinds, before))
            rows = list(_rows(found)) if counted.rowcount else []
            if rows:
                await connection.execute(insert(rollup_counts), rows)
        return total


async def mark(connection: AsyncConnection, hours: Collection[int]) -> None:
    """Mark hours, messages of which have changed or change in this transaction."""
    if not hours:
        return
    these = rollup_hours.c.hour.in_(sorted(hours))
    # In one order everywhere, so that two transactions that mark several hours do not deadlock.
    locked = select(rollup_hours.c.hour).where(these).order_by(rollup_hours.c.hour)
    await connection.execute(locked.with_for_update())
    raised = rollup_hours.c.changes + 1
    await connection.execute(update(rollup_hours).where(these).values(changes=raised))


def hour_of(moment: datetime) -> int:
    """The number of its hour since 1970, in UTC."""
    return (moment - _EPOCH) // HOUR


def start_of(hour: int) -> datetime:
    """When the hour of this number begins."""
    return _EPOCH + hour * HOUR


def hours_of(message_id: UUID) -> set[int]:
    """The hours in one of which the message with this id was created: the id's time is not exactly
    ``created_at``.
    """
    return _hours(message_id.hex[:8])


def newer_events(position: int) -> Select[tuple[str, int, int]]:
    """Selects events above this number, AT_ONCE at most, grouped by ``granule``: the eight digits
    that their messages' ids begin with. Columns: that, the ``newest`` one, how many ``events``.
    """
    some = (
        select(events.c.id, events.c.message_id)
        .where(events.c.id > position)
        .order_by(events.c.id)
        .limit(AT_ONCE)
        .subquery()
    )
    granule = func.substr(cast(some.c.message_id, Text), 1, 8).label("granule")
    newest = func.max(some.c.id).label("newest")
    return select(granule, newest, func.count().label("events")).group_by(granule)


def hours_of_granules(granules: Iterable[str]) -> set[int]:
    """The hours of messages whose ids begin with these digits."""
    return {hour for granule in granules for hour in _hours(granule)}


def rounded(seconds: int) -> int:
    """Seconds to delivery as they are kept."""
    # iovox truncates times to seconds: a fast delivery may seem to precede its send.
    seconds = max(0, seconds)
    if seconds <= EXACT:
        return seconds
    unit = 1 << (seconds.bit_length() - 6)
    return -(-seconds // unit) * unit


def _hours(granule: str) -> set[int]:
    begins = _EPOCH + int(granule, 16) * _GRANULE
    return {hour_of(begins - OLDER), hour_of(begins + _GRANULE + YOUNGER)}


async def _begin(connection: AsyncConnection, now: datetime) -> int:
    """The position, locked. It begins at the newest event: nothing is counted yet, so that nothing
    needs a mark.
    """
    query = select(rollups.c.position).where(rollups.c.id == _POSITION).with_for_update()
    position: int | None = (await connection.execute(query)).scalar_one_or_none()
    if position is None:
        newest = (await connection.execute(select(func.max(events.c.id)))).scalar_one() or 0
        new = upsert(connection, rollups).on_conflict_do_nothing()
        values = {"id": _POSITION, "position": newest, "noted_at": now}
        await connection.execute(new.values(values))
        position = int((await connection.execute(query)).scalar_one())
    return position


async def _keep(connection: AsyncConnection, first: int, end: int, now: datetime) -> None:
    """Add the hours from ``first`` on and before ``end`` that are missing, and delete older ones.
    Those before the oldest message need no count: a new database has no others.
    """
    column = rollup_hours.c
    bounds = select(func.min(column.hour), func.max(column.hour))
    oldest, newest = (await connection.execute(bounds)).one()
    missing = range(first if newest is None else newest + 1, end)
    if missing:
        new = upsert(connection, rollup_hours).on_conflict_do_nothing()
        begun = min(await _first_hour(connection, end), end - UNDECIDED)
        empty = {"counted": 0, "counted_at": now, "messages": 0}
        unknown = dict.fromkeys(empty)
        rows = [{"hour": hour, **(empty if hour < begun else unknown)} for hour in missing]
        await connection.execute(new, rows)
    if oldest is not None and oldest < first:
        await connection.execute(delete(rollup_hours).where(column.hour < first))
        old = rollup_counts.c.kind.in_((STATUS, REASON, ORIGIN, SECONDS))
        await connection.execute(delete(rollup_counts).where(old, rollup_counts.c.hour < first))


async def _first_hour(connection: AsyncConnection, end: int) -> int:
    """The earliest hour that may have a message; ``end`` if there are no messages."""
    query = select(messages.c.id).order_by(messages.c.id).limit(1)
    oldest: UUID | None = (await connection.execute(query)).scalar_one_or_none()
    return end if oldest is None else min(hours_of(oldest))


def _rows(found: Iterable[HourCount]) -> Iterator[dict[str, object]]:
    counts: Counter[tuple[str, int, str, str, str]] = Counter()
    for one in found:
        for kind, key in _keys_of(one):
            counts[kind, one.hour, one.app, key, one.status] += one.messages
    for (kind, hour, app, key, status), number in counts.items():
        yield {
            "kind": kind,
            "hour": hour,
            "app": app,
            "key": key,
            "status": status,
            "messages": number,
        }


def _keys_of(one: HourCount) -> Iterator[tuple[str, str]]:
    """The kinds and keys under which a count is stored."""
    yield STATUS, ""
    yield ORIGIN, one.origin
    if one.reason is not None:
        yield REASON, one.reason
    if one.seconds is not None:
        yield SECONDS, str(rounded(one.seconds))
