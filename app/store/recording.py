"""Records new messages, with their idempotency keys and events: all of them or none.

On PostgreSQL that is one round trip for any number of messages, which costs a sixth of what
SQLAlchemy's insert costs for one; on SQLite it is several statements in one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.audit import Entry
from app.model.message import Message, Step
from app.model.status import Status
from app.store.events import EVENT_LOCK, NewEvent, append
from app.store.idempotency import KEPT, IdempotencyKey, claim
from app.store.tables import messages


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be recorded, the idempotency key of the request for it, and the audit's entry of
    what is audited: a resend.
    """

    message: Message
    key: IdempotencyKey | None = None
    entry: Entry | None = None


# The columns that a new message fills, with their PostgreSQL types.
COLUMNS = {
    "id": "uuid",
    "app": "text",
    "reference": "text",
    "origin": "text",
    "destination": "text",
    "message": "text",
    "expiry": "int",
    "c2c_failover_link_id": "text",
    "created_at": "timestamptz",
    "send_at": "timestamptz",
    "expires_at": "timestamptz",
    "state": "text",
    "state_at": "timestamptz",
    "steps": "text",
    "next_attempt_at": "timestamptz",
    "give_up_at": "timestamptz",
    "lease": "uuid",
    "lease_until": "timestamptz",
    "announced": "int",
    "resend_of": "uuid",
    "leases": "int",
    "incarnation": "uuid",
}
_NAMES = ", ".join(COLUMNS)
_ARRAYS = ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(COLUMNS.values(), start=1))
_NEXT = len(COLUMNS) + 1
"""The number of the first parameter after the columns."""

# Of several messages with one key the first claims it, unless it was used before; the others are
# not recorded. Keys are claimed in their order, so that two batches never deadlock, and the event
# lock comes last, as everywhere. A claim whose key was erased since is found under the name that
# replaced the key (``r``); an erasure that is not committed yet holds the row's lock, so it is
# waited for, and the new name is read. The lock's mode is the one that `on conflict do update`
# takes: with a weaker one, two transactions that both hold it deadlock when they claim the key.
RECORD = f"""
with b as materialized (
  select * from unnest({_ARRAYS}, ${_NEXT}::text[], ${_NEXT + 1}::text[], ${_NEXT + 2}::bytea[],
    ${_NEXT + 3}::text[])
    with ordinality t({_NAMES}, key_app, key, fingerprint, erased_key, ord)),
r as materialized (
  select i.app, i.key from b join idempotency_keys i
    on i.app = b.key_app and i.key = any(array[b.key, b.erased_key])
  where i.created_at >= ${_NEXT + 5}::timestamptz
  order by i.app, i.key for no key update of i),
k as (
  insert into idempotency_keys (app, key, fingerprint, created_at, message_id)
  select distinct on (key_app, key) key_app, key, fingerprint, ${_NEXT + 4}::timestamptz, id
  from b where key is not null and (key_app, erased_key) not in (select app, key from r)
  order by key_app, key, ord
  on conflict (app, key) do update set fingerprint = excluded.fingerprint,
    created_at = excluded.created_at, message_id = excluded.message_id, answer = null,
    repeated_at = null
  where idempotency_keys.created_at < ${_NEXT + 5}::timestamptz
  returning message_id),
m as (
  insert into messages ({_NAMES})
  select {_NAMES} from b
  where key is null or id in (select message_id from k) order by ord
  returning id, app, created_at, announced),
l as materialized (
  select pg_advisory_xact_lock({EVENT_LOCK})
  from (select count(*) n from m where announced = 1) z where n > 0),
e as (
  insert into events (message_id, app, status, at, recorded_at)
  select id, app, 'QUEUED', created_at, clock_timestamp()
  from m cross join l where announced = 1 order by id)
select id from m
"""


async def record_directly(
    connection: Any, new: Sequence[NewMessage], now: datetime, incarnation: UUID | None
) -> set[UUID]:
    """``record`` by an asyncpg connection, as a transaction of its own."""
    if not new:
        return set()
    arguments = record_arguments(new, now, incarnation)
    return {row[0] for row in await connection.fetch(RECORD, *arguments)}


def record_arguments(
    new: Sequence[NewMessage], now: datetime, incarnation: UUID | None
) -> list[Any]:
    """The parameters of RECORD."""
    columns = list(zip(*(row_of(one.message, incarnation) for one in new), strict=True))
    keys = [one.key for one in new]
    of_keys = (
        [key.app if key else None for key in keys],
        [key.key if key else None for key in keys],
        [key.fingerprint if key else None for key in keys],
        [key.erased_key if key else None for key in keys],
    )
    return [*columns, *of_keys, now, now - KEPT]


async def record(
    connection: AsyncConnection,
    new: Sequence[NewMessage],
    now: datetime,
    incarnation: UUID | None = None,
) -> set[UUID]:
    """Record messages as part of a transaction, but for those whose key was used before.

    ``incarnation``: that of the database, as far as this process knows. Returns the ids of those
    recorded.
    """
    if not new:
        return set()
    if connection.dialect.name != "sqlite":
        rows = await connection.exec_driver_sql(
            RECORD, tuple(record_arguments(new, now, incarnation))
        )
        return {row.id for row in rows}
    chosen = await _with_free_keys(connection, new, now)
    if chosen:
        values = [
            dict(zip(COLUMNS, row_of(message, incarnation), strict=True)) for message in chosen
        ]
        await connection.execute(insert(messages), values)
        await append(connection, _events(chosen), now)
    return {message.id for message in chosen}


async def _with_free_keys(
    connection: AsyncConnection, new: Sequence[NewMessage], now: datetime
) -> list[Message]:
    free = await claim(connection, [one.key for one in new if one.key is not None], now)
    chosen = []
    for one in new:
        name = (one.key.app, one.key.key) if one.key else None
        if name is None or name in free:
            chosen.append(one.message)
        if name is not None:
            free.discard(name)
    return chosen


def _events(new: Iterable[Message]) -> list[NewEvent]:
    return [
        NewEvent(message.id, message.app, None, Status.QUEUED, message.created_at)
        for message in new
        if message.announced
    ]


def row_of(message: Message, incarnation: UUID | None) -> tuple[object, ...]:
    """The values of COLUMNS."""
    request = message.request
    first = Step(Status.QUEUED, message.created_at)
    return (
        message.id,
        message.app,
        request.reference,
        request.origin,
        request.destination,
        request.text,
        request.expiry,
        request.c2c_failover_link_id,
        message.created_at,
        request.send_at,
        message.expires_at,
        str(message.state),
        message.created_at,
        json.dumps([step_json(first)]) if message.announced else None,
        message.next_attempt_at,
        message.give_up_at,
        message.lease,
        message.lease_until,
        int(message.announced),
        message.resend_of,
        message.leases,
        incarnation,
    )


def step_json(step: Step) -> dict[str, object]:
    """A step as the column `steps` has it."""
    return {"status": step.status, "at": step.at.isoformat(), "reasons": list(step.reasons)}
