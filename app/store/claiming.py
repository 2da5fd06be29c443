"""Chooses which queued messages are sent next: round robin over the apps that have any due.

The oldest messages of each app are numbered, and the lowest numbers go first, however many another
app has waiting. Within a turn the apps follow each other by name, beginning behind the one that was
served last: if a claim takes fewer messages than there are apps, the next claim goes on there. The
apps are found by a loose index scan, one seek for each, and of each app only as many messages are
read as could be claimed: the cost depends on what is claimed, not on what waits.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

_APPS = """
with recursive apps(app) as (
  select min(app) from messages where state = 'QUEUED'
  union all
  select (select min(m.app) from messages m where m.state = 'QUEUED' and m.app > apps.app)
  from apps where apps.app is not null)
"""

NEXT_DUE = f"""
{_APPS}
select min(first) from (
  select (select min(m.next_attempt_at) from messages m
          where m.state = 'QUEUED' and m.app = apps.app) as first
  from apps where apps.app is not null) each_app
"""

CANDIDATES = 4
"""Messages read for each one wanted: rows that other replicas are claiming are skipped."""

# The candidates are chosen without locks; of these, as many as are wanted are locked, in order.
_TURNS = f"""
{_APPS},
fair as materialized (
  select due.id, apps.app,
    row_number() over (partition by apps.app order by due.next_attempt_at, due.id) turn
  from apps cross join lateral (
    select m.id, m.next_attempt_at from messages m
    where m.state = 'QUEUED' and m.app = apps.app and m.next_attempt_at <= $1::timestamptz
      and ($4::uuid is null or m.incarnation = $4)
    order by m.next_attempt_at, m.id limit $2::int * {CANDIDATES}) due
  order by turn, apps.app <= $3::text, apps.app limit $2::int * {CANDIDATES})
select m.id from messages m join fair on fair.id = m.id
where m.state = 'QUEUED'
order by fair.turn, fair.app <= $3::text, fair.app limit $2::int
for update of m skip locked
"""

PROBED = 1_000
"""Messages of each app, the longest due, among which those with the fewest attempts are chosen."""

_PROBES = f"""
{_APPS},
due as materialized (
  select each.id, each.attempts, each.next_attempt_at
  from apps cross join lateral (
    select m.id, m.attempts, m.next_attempt_at from messages m
    where m.state = 'QUEUED' and m.app = apps.app and m.next_attempt_at <= $1::timestamptz
      and ($3::uuid is null or m.incarnation = $3)
    order by m.next_attempt_at, m.id limit {PROBED}) each)
select m.id from messages m join due on due.id = m.id
where m.state = 'QUEUED'
order by due.attempts, due.next_attempt_at limit $2::int
for update of m skip locked
"""

_SQLITE_APPS = f"{_APPS} select app from apps where app is not null"
_SQLITE_DUE = """
select id from messages
where state = 'QUEUED' and app = ? and next_attempt_at <= ? and (? is null or incarnation = ?)
order by next_attempt_at, id limit ?
"""


_SQLITE_PROBES = """
select id from messages
where state = 'QUEUED' and next_attempt_at <= ? and (? is null or incarnation = ?)
order by attempts, next_attempt_at limit ?
"""


async def choose(
    connection: AsyncConnection,
    *,
    limit: int,
    now: datetime,
    after_app: str,
    only: UUID | None = None,
) -> list[UUID]:
    """Up to ``limit`` messages that are due, in the order of their turns; locked until commit.

    ``after_app``: the app that was served last, or an empty string. ``only``: those recorded in
    this incarnation of the database.
    """
    if connection.dialect.name == "sqlite":
        return await _choose_on_sqlite(connection, limit, now, after_app, only)
    rows = await connection.exec_driver_sql(_TURNS, (now, limit, after_app, only))
    return [row.id for row in rows]


async def choose_probes(
    connection: AsyncConnection, *, limit: int, now: datetime, only: UUID | None = None
) -> list[UUID]:
    """Up to ``limit`` messages that are due, the fewest attempts first; locked until commit."""
    if connection.dialect.name == "sqlite":
        within = only and only.hex
        arguments = (_sqlite_time(now), within, within, limit)
        rows = await connection.exec_driver_sql(_SQLITE_PROBES, arguments)
        return [UUID(row.id) for row in rows]
    rows = await connection.exec_driver_sql(_PROBES, (now, limit, only))
    return [row.id for row in rows]


async def _choose_on_sqlite(
    connection: AsyncConnection, limit: int, now: datetime, after_app: str, only: UUID | None
) -> list[UUID]:
    """``choose`` on SQLite: one writer at a time, so there are no locked rows to skip."""
    moment, within = _sqlite_time(now), only and only.hex
    apps = await connection.exec_driver_sql(_SQLITE_APPS)
    due: list[tuple[int, bool, str, str]] = []
    for app in apps.scalars().all():
        rows = await connection.exec_driver_sql(_SQLITE_DUE, (app, moment, within, within, limit))
        due += [(turn, app <= after_app, app, row.id) for turn, row in enumerate(rows)]
    return [UUID(name) for *_, name in sorted(due)[:limit]]


def _sqlite_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
