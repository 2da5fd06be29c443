"""iovox's acceptance, recorded on PostgreSQL in one statement where no receipt came first.

MEET and BIND (see `postgresql`) take four round trips; docs/performance.md has what this saves. The
acceptance nearly always comes before the first receipt, so the delivery is inserted with its
message in it: a transaction that stores a receipt for it waits for this row and finds the message
there. A delivery that exists already is left alone here, and goes through MEET and BIND.

Locks are taken in the order that holds everywhere: deliveries, messages, the event lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from asyncpg import DivisionByZeroError

from app.model.message import Acceptance
from app.store.events import EVENT_LOCK
from app.store.meeting.binding import meet_and_bind_directly
from app.store.meeting.postgresql import SUBMITTED

# $1: message ids, $2: sms_activity_ids, $3: times of acceptance; no id stands twice. Returns the
# ids of the messages that are bound.
#
# A message is read before its row is locked. If another transaction has bound it by then, the
# delivery that was inserted must not stay: a division by zero rolls the statement back.
ACCEPT = f"""
with c as materialized (
  select id, sid, t.at, m.app, m.expires_at,
    (extract(epoch from m.created_at) * 2000000)::bigint created_key,
    (extract(epoch from t.at) * 2000000)::bigint submitted_key
  from unnest($1::uuid[], $2::text[], $3::timestamptz[]) t(id, sid, at) join messages m using (id)
  where m.sms_activity_id is null and m.state <> 'CANCELLED'),
d as (
  insert into deliveries (sms_activity_id, message_id, app, expires_at, created_key, submitted_key,
    status)
  select sid, id, app, expires_at, created_key, submitted_key, 'SUBMITTED' from c order by sid
  on conflict do nothing returning message_id id),
k as materialized (
  select id from messages where id = any(array(select id from d)) order by id for no key update),
m as (
  update messages m set {SUBMITTED}
  from k join c using (id)
  where m.id = k.id and m.sms_activity_id is null and m.state <> 'CANCELLED'
  returning m.id, m.app, c.sid, c.at),
l as materialized (
  select pg_advisory_xact_lock({EVENT_LOCK}) from (select count(*) n from m) z where n > 0),
e as (
  insert into events (message_id, app, sms_activity_id, status, at, recorded_at)
  select id, app, sid, 'SUBMITTED', at, clock_timestamp() from m cross join l order by sid)
select array(select id from m),
  1 / (case when (select count(*) from d) = (select count(*) from m) then 1 else 0 end)
"""


async def accept_directly(connection: Any, pairs: Sequence[Acceptance]) -> dict[UUID, str]:
    """Bind messages to their sms_activity_ids by an asyncpg connection; returns the bindings."""
    bound = await _accept_first(connection, pairs)
    rest = [pair for pair in pairs if pair.message_id not in bound]
    return bound | (await meet_and_bind_directly(connection, rest) if rest else {})


async def _accept_first(connection: Any, pairs: Sequence[Acceptance]) -> dict[UUID, str]:
    first = {pair.message_id: pair for pair in reversed(pairs)}
    ids = [pair.sms_activity_id for pair in first.values()]
    if len(set(ids)) < len(ids):  # several messages with one id: BIND binds the first
        return {}
    try:
        times = [one.at for one in first.values()]
        row = await connection.fetchrow(ACCEPT, list(first), ids, times)
    except DivisionByZeroError:
        return {}
    return {message_id: first[message_id].sms_activity_id for message_id in row[0]}
