"""Counts of messages, deliveries and webhooks for metrics and alarms, up to MOST each.

One statement over indexes, run once in an interval for all replicas together (see ``operations``).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Integer, bindparam, text
from sqlalchemy.types import Uuid

from app.model.alarm import Counts
from app.model.search import id_lower_bound
from app.store.column_types import UtcTime
from app.store.engine import Database

MOST = 100_000
"""Counting goes through an index: a hundred thousand entries take some tens of milliseconds."""

_UNDER_WAY = ("SUBMITTED", "ACKNOWLEDGED", "BUFFERED")
_OLD = " + ".join(  # the statuses are ours
    "(select count(*) from (select 1 as one from deliveries d where d.app = apps.app"
    f" and d.status = '{status}' and d.message_id < :oldest limit :most) as found)"
    for status in _UNDER_WAY
)
_COUNTS = (
    text(f"""
with recursive apps(app) as (
  select min(app) from messages
  union all
  select (select min(m.app) from messages m where m.app > apps.app) from apps
  where apps.app is not null),
by_app as (
  select
    (select min(m.next_attempt_at) from messages m
      where m.app = apps.app and m.state = 'QUEUED') as due_at,
    (select count(*) from (select 1 as one from messages m
      where m.app = apps.app and m.state = 'UNCONFIRMED' limit :most) as found) as unconfirmed,
    {_OLD} + (select count(*) from (select 1 as one from deliveries d
      where d.app = apps.app and d.expires_at is not null
      and d.status in ('SUBMITTED', 'ACKNOWLEDGED', 'BUFFERED')
      and d.expires_at < :now and d.message_id >= :oldest limit :most) as found) as overdue
  from apps where apps.app is not null)
select
  (select count(*) from (select 1 as one from messages
    where state = 'QUEUED' limit :most) as found) as queued,
  (select count(*) from (select 1 as one from messages
    where state = 'SENDING' limit :most) as found) as sending,
  (select min(due_at) from by_app) as due_at,
  (select coalesce(sum(unconfirmed), 0) from by_app) as unconfirmed,
  (select coalesce(sum(overdue), 0) from by_app) as overdue,
  (select count(*) from (select 1 as one from deliveries
    where message_id is null and received_at is not null limit :most) as found) as unmatched,
  (select count(*) from (select 1 as one from webhook_deliveries
    where state = 'PENDING' limit :most) as found) as webhook_backlog,
  (select count(*) from webhooks
    where state = 'PAUSED' and reason <> 'paused by its owner') as webhooks_paused
""")
    .bindparams(
        bindparam("now", type_=UtcTime()),
        bindparam("oldest", type_=Uuid()),
        bindparam("most", type_=Integer()),
    )
    .columns(due_at=UtcTime())
)


async def count_tables(database: Database, *, now: datetime, overdue_after: timedelta) -> Counts:
    """Count. ``overdue_after``: as for the list of what is overdue. Raises StoreUnavailable."""
    values = {"now": now, "oldest": id_lower_bound(now - overdue_after), "most": MOST}
    async with database.read() as connection:
        row = (await connection.execute(_COUNTS, values)).mappings().one()
    due_at: datetime | None = row["due_at"]
    return Counts(
        queued=row["queued"],
        due_for=max(0.0, (now - due_at).total_seconds()) if due_at else 0.0,
        sending=row["sending"],
        unconfirmed=int(row["unconfirmed"]),
        overdue=int(row["overdue"]),
        unmatched=row["unmatched"],
        webhook_backlog=row["webhook_backlog"],
        webhooks_paused=row["webhooks_paused"],
    )
