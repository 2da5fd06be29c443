"""Messages: recorded before the wire, leased while on it, settled once the outcome is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import FieldError
from app.model.message import Acceptance, Message, Outcome, Request, Step
from app.model.status import Status
from app.store.binding import meet_and_bind
from app.store.engine import Database
from app.store.events import NewEvent, append
from app.store.idempotency import IdempotencyKey, claim
from app.store.tables import messages

# Every app that has something due gets its turn: its oldest messages are numbered, and the ones
# with the lowest numbers go first, whoever else has a hundred thousand waiting. On PostgreSQL the
# apps are found by hopping over the index, one seek each.
_CLAIM_POSTGRESQL = """
with recursive apps(app) as (
  select min(app) from messages where state = 'QUEUED'
  union all
  select (select min(m.app) from messages m where m.state = 'QUEUED' and m.app > apps.app)
  from apps where apps.app is not null)
select id from (
  select due.id, due.next_attempt_at,
    row_number() over (partition by apps.app order by due.next_attempt_at, due.id) turn
  from apps cross join lateral (
    select m.id, m.next_attempt_at from messages m
    where m.state = 'QUEUED' and m.app = apps.app and m.next_attempt_at <= $1::timestamptz
    order by m.next_attempt_at, m.id limit $2::int for update skip locked) due) fair
order by turn, next_attempt_at limit $2::int
"""
_CLAIM_SQLITE = """
select id from (
  select id, next_attempt_at,
    row_number() over (partition by app order by next_attempt_at, id) turn
  from messages where state = 'QUEUED' and next_attempt_at <= ?) fair
order by turn, next_attempt_at limit ?
"""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be recorded, and the key under which its app asked for it."""

    message: Message
    key: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True)
class Tracked:
    """A message with what came of it so far, as far as we ourselves did it."""

    message: Message
    sms_activity_id: str | None
    errors: tuple[FieldError, ...]
    steps: tuple[Step, ...]


class MessageStore:
    """Messages and their own states. Raises StoreUnavailable or StoreRefused, like all stores."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, new: Sequence[NewMessage]) -> list[bool]:
        """Record messages, each SENDING with a lease or QUEUED, with the events they are worth.

        Answers for each whether it was recorded: False where its idempotency key was used before.
        """
        now = datetime.now(UTC)
        async with self._database.write() as connection:
            keys = [one.key for one in new if one.key is not None]
            free = await claim(connection, keys, now)
            recorded = []
            for one in new:
                is_first = one.key is None or (one.key.app, one.key.key) in free
                if one.key is not None:
                    free.discard((one.key.app, one.key.key))
                recorded.append(is_first)
            chosen = [one.message for one, is_in in zip(new, recorded, strict=True) if is_in]
            await _insert(connection, chosen, now)
            return recorded

    async def add_batch(self, new: Sequence[Message], key: IdempotencyKey | None) -> bool:
        """Record the messages of one request together; False where its key was used before."""
        now = datetime.now(UTC)
        async with self._database.write() as connection:
            if key is not None and not await claim(connection, [key], now):
                return False
            await _insert(connection, new, now)
            return True

    async def accepted(self, batch: Sequence[Acceptance]) -> dict[UUID, str | None]:
        """iovox answered with ids. Answers the id that each message really has afterwards.

        That is another one, or None, only where iovox contradicts itself: an id that is another
        message's already, or a second id for one message.
        """
        now = datetime.now(UTC)
        async with self._database.write() as connection:
            bound = await meet_and_bind(connection, batch, now)
            answer: dict[UUID, str | None] = {
                a.message_id: a.sms_activity_id for a in batch if a.message_id in bound
            }
            rest = [a.message_id for a in batch if a.message_id not in bound]
            if rest:
                rows = await connection.execute(
                    select(messages.c.id, messages.c.sms_activity_id).where(messages.c.id.in_(rest))
                )
                answer |= {row.id: row.sms_activity_id for row in rows}
            return answer

    async def settle(self, outcomes: Sequence[Outcome]) -> set[UUID]:
        """Record how attempts ended. Answers which counted: the others' leases were lost.

        A receipt may have settled a message first; then what we thought of it no longer matters.
        """
        now = datetime.now(UTC)
        counted: set[UUID] = set()
        new: list[NewEvent] = []
        async with self._database.write() as connection:
            for outcome in sorted(outcomes, key=lambda o: o.message_id):
                app = await _settle_one(connection, outcome)
                if app is None:
                    continue
                counted.add(outcome.message_id)
                if outcome.announce:
                    step = outcome.step
                    new.append(NewEvent(outcome.message_id, app, None, step.status, step.at))
            await append(connection, new, now)
        return counted

    async def claim(
        self, *, limit: int, now: datetime, lease: UUID, lease_until: datetime
    ) -> list[Message]:
        """Lease up to ``limit`` messages that are due, taking turns between apps."""
        async with self._database.write() as connection:
            if connection.dialect.name == "sqlite":
                moment = now.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
                rows = await connection.exec_driver_sql(_CLAIM_SQLITE, (moment, limit))
            else:
                rows = await connection.exec_driver_sql(_CLAIM_POSTGRESQL, (now, limit))
            ids = [row.id if isinstance(row.id, UUID) else UUID(row.id) for row in rows]
            if not ids:
                return []
            leased = await connection.execute(
                update(messages)
                .where(messages.c.id.in_(ids), messages.c.state == Status.QUEUED)
                .values(
                    state=Status.SENDING,
                    state_at=now,
                    lease=lease,
                    lease_until=lease_until,
                    next_attempt_at=None,
                )
                .returning(*messages.c)
            )
            turns = {message_id: turn for turn, message_id in enumerate(ids)}
            return sorted((message_of(row) for row in leased), key=lambda m: turns[m.id])

    async def lapsed(self, *, now: datetime, limit: int) -> list[Message]:
        """Messages whose lease ran out while SENDING: whoever sent them is gone."""
        query = (
            select(*messages.c)
            .where(messages.c.state == Status.SENDING, messages.c.lease_until < now)
            .order_by(messages.c.lease_until)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return [message_of(row) for row in await connection.execute(query)]

    async def next_due_at(self) -> datetime | None:
        """When the earliest queued message is due; None with an empty queue."""
        query = (
            select(messages.c.next_attempt_at)
            .where(messages.c.state == Status.QUEUED)
            .order_by(messages.c.next_attempt_at)
            .limit(1)
        )
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def find(self, message_id: UUID) -> Tracked | None:
        """One message with what came of it so far."""
        query = select(*messages.c).where(messages.c.id == message_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        return Tracked(
            message_of(row), row.sms_activity_id, errors_of(row.errors), steps_of(row.steps)
        )

    async def cancel(self, message: Message, at: datetime) -> bool:
        """Take a QUEUED message back; False where it is QUEUED no more."""
        step = Step(Status.CANCELLED, at)
        outcome = Outcome(message.id, None, step, announce=True, attempted=False)
        return message.id in await self.settle([outcome])


async def _insert(connection: AsyncConnection, new: Sequence[Message], now: datetime) -> None:
    if not new:
        return
    await connection.execute(insert(messages), [_columns(message) for message in new])
    await append(
        connection,
        [
            NewEvent(message.id, message.app, None, Status.QUEUED, message.created_at)
            for message in new
            if message.announced
        ],
        now,
    )


async def _settle_one(connection: AsyncConnection, outcome: Outcome) -> str | None:
    """Update one message under its lease; answers its app where the lease was still good."""
    step = outcome.step
    queued = step.status is Status.QUEUED
    changed = (
        update(messages)
        .where(
            messages.c.id == outcome.message_id,
            messages.c.state == (Status.QUEUED if outcome.lease is None else Status.SENDING),
            messages.c.lease == outcome.lease if outcome.lease else messages.c.lease.is_(None),
        )
        .values(
            state=step.status,
            state_at=step.at,
            steps=_appended(connection, step),
            errors=_json_errors(outcome.errors),
            attempts=messages.c.attempts + int(outcome.attempted),
            next_attempt_at=outcome.next_attempt_at,
            announced=1 if queued else messages.c.announced,
            lease=None,
            lease_until=None,
        )
        .returning(messages.c.app)
    )
    app = (await connection.execute(changed)).scalar_one_or_none()
    return None if app is None else str(app)


def _appended(connection: AsyncConnection, step: Step) -> Any:
    """The steps with one more at the end, whatever they are by now."""
    one = json.dumps(_step_json(step), ensure_ascii=False)
    if connection.dialect.name == "sqlite":
        return text("json_insert(coalesce(steps, '[]'), '$[#]', json(:step))").bindparams(step=one)
    return text(
        "(coalesce(steps, '[]')::jsonb || jsonb_build_array(cast(:step as jsonb)))::text"
    ).bindparams(step=one)


def _step_json(step: Step) -> dict[str, object]:
    return {"status": step.status, "at": step.at.isoformat(), "reasons": list(step.reasons)}


def _json_errors(errors: Sequence[FieldError]) -> str | None:
    if not errors:
        return None
    return json.dumps([{"field": e.field, "message": e.message} for e in errors])


def errors_of(stored: str | None) -> tuple[FieldError, ...]:
    """The refusal's errors, from the column."""
    return tuple(FieldError(e["field"], e["message"]) for e in json.loads(stored or "[]"))


def steps_of(stored: str | None) -> tuple[Step, ...]:
    """Our own steps, oldest first, from the column."""
    return tuple(
        Step(Status(s["status"]), datetime.fromisoformat(s["at"]), tuple(s["reasons"]))
        for s in json.loads(stored or "[]")
    )


def _columns(message: Message) -> dict[str, object]:
    request = message.request
    step = Step(Status.QUEUED, message.created_at)
    return {
        "id": message.id,
        "app": message.app,
        "reference": request.reference,
        "origin": request.origin,
        "destination": request.destination,
        "message": request.text,
        "expiry": request.expiry,
        "c2c_failover_link_id": request.c2c_failover_link_id,
        "created_at": message.created_at,
        "send_at": request.send_at,
        "expires_at": message.expires_at,
        "state": message.state,
        "state_at": message.created_at,
        "steps": json.dumps([_step_json(step)]) if message.announced else None,
        "next_attempt_at": message.next_attempt_at,
        "give_up_at": message.give_up_at,
        "lease": message.lease,
        "lease_until": message.lease_until,
        "announced": int(message.announced),
        "resend_of": message.resend_of,
    }


def message_of(row: Row[*tuple[Any, ...]]) -> Message:
    """A message from a row that has every column of `messages`."""
    return Message(
        id=row.id,
        app=row.app,
        request=Request(
            origin=row.origin,
            destination=row.destination,
            text=row.message,
            expiry=row.expiry,
            c2c_failover_link_id=row.c2c_failover_link_id,
            reference=row.reference,
            send_at=row.send_at,
        ),
        created_at=row.created_at,
        state=Status(row.state),
        attempts=row.attempts,
        announced=bool(row.announced),
        lease=row.lease,
        lease_until=row.lease_until,
        next_attempt_at=row.next_attempt_at,
        give_up_at=row.give_up_at,
        resend_of=row.resend_of,
    )
