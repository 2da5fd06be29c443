"""Messages: recorded before they are sent, leased while they are, settled by the outcome."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, literal_column, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import KeysWait
from app.model.audit import Entry
from app.model.message import Acceptance, Message, Outcome, Step
from app.model.status import Status
from app.store.any_of import chunks
from app.store.audit import append as append_to_audit
from app.store.claiming import NEXT_DUE, choose, choose_probes
from app.store.engine import Database
from app.store.events import NewEvent, append
from app.store.idempotency import IdempotencyKey, claim, lock_unrepeated, release
from app.store.meeting.accepting import accept_directly
from app.store.meeting.binding import meet_and_bind
from app.store.message_rows import Tracked, message_of, tracked
from app.store.pace import PaceStore, Slots
from app.store.permission import Permit
from app.store.recording import NewMessage, record, record_directly
from app.store.settling import announced, settle_each, settle_one
from app.store.tables import deliveries, messages

__all__ = ["MessageStore", "NewMessage"]

FOUND_AT_ONCE = 500
PATIENCE = 10.0
"""Seconds for a transaction. It takes milliseconds; beyond this the database counts as away."""

# Literals, not parameters: a partial index is used only if the statement itself names its state.
_QUEUED = messages.c.state == literal_column("'QUEUED'")
_SENDING = messages.c.state == literal_column("'SENDING'")


class MessageStore:
    """Messages and their own states. Raises StoreUnavailable or StoreRefused, like all stores."""

    def __init__(self, database: Database, *, permit: Permit | None = None) -> None:
        """``permit`` says what may be done while it is unknown what the database has lost; without
        it everything may.
        """
        self._database = database
        self._permit = permit or Permit(database, is_on=False)
        self.writes_at_once = database.writes_at_once

    async def add(self, new: Sequence[NewMessage]) -> list[bool | KeysWait]:
        """Record messages, each SENDING with a lease or QUEUED, with their events.

        Returns for each whether it was recorded: False if its idempotency key was used before,
        KeysWait if it cannot be known just now whether it was.
        """
        now = self._database.clock.now()
        incarnation = self._permit.incarnation
        keyed = self._permit.is_on and any(one.key is not None for one in new)
        audited = [one for one in new if one.entry is not None]
        allowed = new
        if self._database.is_sqlite or audited:
            async with self._database.write(patience=PATIENCE) as connection:
                if keyed and not (await self._permit.ask(connection)).keys:
                    allowed = _without_keys(new)
                recorded = await record(connection, allowed, now, incarnation)
                entries = [one.entry for one in audited if one.message.id in recorded]
                await append_to_audit(connection, entries)
        else:
            async with self._database.direct(patience=PATIENCE) as connection:
                if not keyed:
                    recorded = await record_directly(connection, new, now, incarnation)
                else:
                    async with connection.transaction():
                        if not (await self._permit.ask_directly(connection)).keys:
                            allowed = _without_keys(new)
                        recorded = await record_directly(connection, allowed, now, incarnation)
        waiting = {one.message.id for one in new} - {one.message.id for one in allowed}
        return [
            KeysWait() if one.message.id in waiting else one.message.id in recorded for one in new
        ]

    async def add_batch(self, new: Sequence[Message], key: IdempotencyKey | None) -> bool:
        """Record the messages of one request together; False if its key was used before.

        Raises KeysWait if it cannot be known just now whether it was.
        """
        now = self._database.clock.now()
        incarnation = self._permit.incarnation
        async with self._database.write(patience=PATIENCE) as connection:
            if key is not None:
                if self._permit.is_on and not (await self._permit.ask(connection)).keys:
                    raise KeysWait
                if not await claim(connection, [key], now):
                    return False
            await record(connection, [NewMessage(message) for message in new], now, incarnation)
            return True

    async def undo_add(
        self, new: Sequence[Message], key: IdempotencyKey | None, reason: str
    ) -> set[UUID]:
        """Undo records that landed after their caller had been answered 503; returns their ids.

        Such a message stays, as UNSENT. One that is being sent already is not undone. With a key,
        all of them are undone or none, and the key is freed for the caller's next try; if that came
        first and was answered with the records, they stand.
        """
        now = self._database.clock.now()
        step = Step(Status.UNSENT, now, (reason,))
        outcomes = [
            Outcome(one.id, one.lease, step, announce=one.announced, attempted=False) for one in new
        ]
        try:
            async with self._database.write(patience=PATIENCE) as connection:
                if key is not None and not await lock_unrepeated(connection, key):
                    return set()
                undone = await settle_each(connection, outcomes)
                if key is not None:
                    if len(undone) < len(new):
                        raise _BeingSentError
                    await release(connection, key)
                await append(connection, announced(undone, outcomes), now)
        except _BeingSentError:
            return set()
        return {event.message_id for event in undone}

    async def accepted(self, batch: Sequence[Acceptance]) -> dict[UUID, str | None]:
        """Record iovox's acceptances. Returns the sms_activity_id that each message has afterwards.

        That is another one, or None, only if iovox contradicts itself: by an id that is another
        message's already, or by a second id for one message.
        """
        found: dict[UUID, str | None] = {**await self._bind(batch)}
        rest = [a.message_id for a in batch if a.message_id not in found]
        if rest:
            query = select(messages.c.id, messages.c.sms_activity_id).where(messages.c.id.in_(rest))
            async with self._database.read(patience=PATIENCE) as connection:
                found |= {row.id: row.sms_activity_id for row in await connection.execute(query)}
        return found

    async def settle(self, outcomes: Sequence[Outcome], *, entry: Entry | None = None) -> set[UUID]:
        """Record how attempts ended. Returns the ids of those recorded; the others' leases were
        lost, or a receipt settled the message first: it outranks an outcome of ours.

        ``entry`` is the audit's, appended if any was recorded.
        """
        now = self._database.clock.now()
        async with self._database.write(patience=PATIENCE) as connection:
            settled = await settle_each(connection, outcomes)
            await append_to_audit(connection, [entry] if settled else [])
            await append(connection, announced(settled, outcomes), now)
        return {event.message_id for event in settled}

    async def claim(
        self,
        *,
        limit: int,
        lease: UUID,
        lease_until: datetime,
        pace: PaceStore | None = None,
        within: timedelta = timedelta(0),
        after_app: str = "",
        probing: bool = False,
    ) -> list[tuple[Message, datetime]]:
        """Lease up to ``limit`` messages that are due, taking turns between apps.

        The turns begin after ``after_app``, the app that was served last. With ``probing`` messages
        with the fewest attempts come first: a probe tests iovox, and a message may fail for reasons
        of its own.

        Each comes with the time slot in which it may be sent: now, or one that ``pace`` gives out,
        at most ``within`` ahead. Only as many slots are consumed as messages are leased.
        """
        async with self._database.write(patience=PATIENCE) as connection:
            permission = await self._permit.ask(connection)
            if not permission.queue:
                return []
            now = self._database.clock.now()
            slots = Slots([now] * limit, now)
            if pace is not None:
                slots = await pace.next_slots(connection, limit, within=within)
            limit = len(slots.times)
            ids: list[UUID] = []
            if limit:
                only = permission.only
                ids = (
                    await choose_probes(connection, limit=limit, now=now, only=only)
                    if probing
                    else await choose(
                        connection, limit=limit, now=now, after_app=after_app, only=only
                    )
                )
            leased = await _lease(connection, ids, now, lease, lease_until) if ids else []
            if pace is not None:
                await pace.consume(connection, slots, len(leased))
            return list(zip(leased, slots.times, strict=False))

    async def leased(self, leases: Collection[UUID], *, limit: int) -> list[Message]:
        """The messages that are SENDING under any of these leases."""
        found = await self._find(_SENDING & messages.c.lease.in_(leases), messages.c.id, limit)
        return [one.message for one in found]

    async def lapsed(self, *, now: datetime, limit: int) -> list[Message]:
        """Messages whose lease ran out while SENDING: the process that sent them is gone."""
        found = await self._find(
            _SENDING & (messages.c.lease_until < now), messages.c.lease_until, limit
        )
        return [one.message for one in found]

    async def past_deadline(self, *, now: datetime, limit: int) -> list[Tracked]:
        """Messages that are QUEUED and past their ``give_up_at``; none while the database may have
        lost that some were sent.
        """
        async with self._database.read(patience=PATIENCE) as connection:
            permission = await self._permit.ask(connection)
        if permission.only is not None or not permission.keys:
            return []
        late = _QUEUED & (messages.c.give_up_at <= now)
        return await self._find(late, messages.c.give_up_at, limit)

    async def next_due_at(self) -> datetime | None:
        """When the earliest queued message is due; None with an empty queue."""
        query = text(NEXT_DUE).columns(messages.c.next_attempt_at)
        async with self._database.read(patience=PATIENCE) as connection:
            due_at: datetime | None = (await connection.execute(query)).scalar_one()
            return due_at

    async def is_any_due(self) -> bool:
        """Whether any queued message is due."""
        due_at = await self.next_due_at()
        return due_at is not None and due_at <= self._database.clock.now()

    async def find(self, message_id: UUID) -> Tracked | None:
        """One message; None if there is none with this id."""
        found = await self._find(messages.c.id == message_id, messages.c.id, 1)
        return found[0] if found else None

    async def status(self, message_id: UUID) -> str:
        """The status of a message that exists: its delivery's, or before that its own state."""
        of_it = deliveries.c.sms_activity_id == messages.c.sms_activity_id
        query = (
            select(func.coalesce(deliveries.c.status, messages.c.state))
            .select_from(messages.outerjoin(deliveries, of_it))
            .where(messages.c.id == message_id)
        )
        async with self._database.read(patience=PATIENCE) as connection:
            return str((await connection.execute(query)).scalar_one())

    async def cancel(
        self, message: Message, at: datetime, *, entry: Entry | None = None
    ) -> int | None:
        """Cancel a QUEUED message; returns how often it was leased, None if it is not QUEUED.

        ``entry`` is the audit's. Raises KeysWait while the database may have lost that it was sent.
        """
        step = Step(Status.CANCELLED, at)
        outcome = Outcome(message.id, None, step, announce=True, attempted=False)
        async with self._database.write(patience=PATIENCE) as connection:
            permission = await self._permit.ask(connection)
            if permission.only is not None or not permission.keys:
                raise KeysWait
            app = await settle_one(connection, outcome)
            if app is None:
                return None
            leases = select(messages.c.leases).where(messages.c.id == message.id)
            found: int = (await connection.execute(leases)).scalar_one()
            await append_to_audit(connection, [entry])
            event = NewEvent(message.id, app, None, step.status, at)
            await append(connection, [event], self._database.clock.now())
        return found

    async def find_many(self, ids: Sequence[UUID]) -> list[Message]:
        """Those of these messages that exist."""
        found = []
        for some in chunks(ids, FOUND_AT_ONCE):
            one_of = messages.c.id.in_(some)
            found += await self._find(one_of, messages.c.id, FOUND_AT_ONCE)
        return [one.message for one in found]

    async def _bind(self, batch: Sequence[Acceptance]) -> dict[UUID, str]:
        now = self._database.clock.now()
        if self._database.is_sqlite:
            async with self._database.write(patience=PATIENCE) as connection:
                return await meet_and_bind(connection, batch, now)
        async with self._database.direct(patience=PATIENCE) as connection:
            return await accept_directly(connection, batch)

    async def _find(
        self, which: ColumnElement[bool], order: ColumnElement[Any], limit: int
    ) -> list[Tracked]:
        query = select(*messages.c).where(which).order_by(order).limit(limit)
        async with self._database.read(patience=PATIENCE) as connection:
            return [tracked(row) for row in await connection.execute(query)]


def _without_keys(new: Sequence[NewMessage]) -> list[NewMessage]:
    return [one for one in new if one.key is None]


class _BeingSentError(Exception):
    """One of the messages is being sent, so none is undone: rolls the transaction back."""


async def _lease(
    connection: AsyncConnection, ids: list[UUID], now: datetime, lease: UUID, lease_until: datetime
) -> list[Message]:
    rows = await connection.execute(
        update(messages)
        .where(messages.c.id.in_(ids), messages.c.state == Status.QUEUED)
        .values(
            state=Status.SENDING,
            state_at=now,
            lease=lease,
            lease_until=lease_until,
            leases=messages.c.leases + 1,
            next_attempt_at=None,
        )
        .returning(*messages.c)
    )
    turns = {message_id: turn for turn, message_id in enumerate(ids)}
    return sorted((message_of(row) for row in rows), key=lambda message: turns[message.id])
