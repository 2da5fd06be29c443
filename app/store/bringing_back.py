"""Brings messages back that the database has lost, from the facts of a journal.

Idempotent: what is there already is left alone (``app.model.merging``). Events are written for what
is brought back as for what is new: the ones that readers had got were lost as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import StoreUnavailable
from app.model.erased_keys import erased_key
from app.model.fact import Accepted, ClaimedKey, Ended, OnWire, Recorded
from app.model.merging import Known, forked_lease, merge
from app.model.message import Acceptance, Message
from app.model.receipt import Receipt
from app.model.status import Status
from app.store.engine import Database
from app.store.events import NewEvent, append
from app.store.failures import retry_transient
from app.store.idempotency import KEPT, IdempotencyKey, release
from app.store.meeting.binding import bind, meet, meet_and_bind
from app.store.message_rows import errors_json, errors_of, message_of, steps_of
from app.store.recording import COLUMNS, row_of, step_json
from app.store.rollups import hours_of, mark
from app.store.tables import idempotency_keys, incarnations, messages, receipts
from app.store.upsert import upsert

Leased = tuple[UUID, UUID]
"""A message and a lease of it."""
MessageFact = Recorded | OnWire | Ended | Accepted
PATIENCE = 30.0
"""Seconds for a transaction of some hundred facts."""

# Messages that are named (X-Message-Id) by receipts of ids that no message has.
_NAMED = """
select r.message_hint, r.sms_activity_id from deliveries d
  join receipts r on r.sms_activity_id = d.sms_activity_id
where d.message_id is null and d.received_at is not null and r.message_hint is not null
"""


@dataclass(slots=True)
class BroughtBack:
    """How much was missing and has been stored again."""

    messages: int = 0
    outcomes: int = 0
    keys: int = 0
    receipts: int = 0
    forks: set[Leased] = field(default_factory=set)
    """Leases under which a text may have been sent beside that of another lease, unless the same
    journal says that it was surely not sent."""

    def __bool__(self) -> bool:
        return bool(self.messages or self.outcomes or self.keys or self.receipts)

    def add(self, other: BroughtBack) -> None:
        """Count both together."""
        self.messages += other.messages
        self.outcomes += other.outcomes
        self.keys += other.keys
        self.receipts += other.receipts
        self.forks |= other.forks


@dataclass(slots=True)
class _Batch:
    """The messages that a batch of facts is about: as they were found, and as they are to be."""

    found: dict[UUID, Known]
    wanted: dict[UUID, Known] = field(default_factory=dict)
    forks: set[Leased] = field(default_factory=set)

    def of(self, message_id: UUID) -> Known | None:
        return self.wanted.get(message_id) or self.found.get(message_id)


class BringingBackStore:
    """Stores what a journal has and the database has not.

    Raises StoreUnavailable, also once ``incarnation`` is not the newest one any more.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bring_back(
        self, facts: Sequence[MessageFact], *, incarnation: UUID, generation: str
    ) -> BroughtBack:
        """Bring back what these facts say of messages and idempotency keys: one transaction."""
        return await retry_transient(
            partial(self._bring_back, facts, incarnation=incarnation, generation=generation)
        )

    async def has_queued(self) -> bool:
        """Whether any message waits or is being sent."""
        state = messages.c.state
        query = select(messages.c.id).where(state.in_([Status.QUEUED, Status.SENDING])).limit(1)
        async with self._database.read(patience=PATIENCE) as connection:
            return (await connection.execute(query)).first() is not None

    async def missing(self, batch: Sequence[Receipt]) -> int:
        """How many of these receipts the database does not have."""
        ids = {receipt.sms_activity_id for receipt in batch}
        query = select(receipts.c.sms_activity_id, receipts.c.digest).where(
            receipts.c.sms_activity_id.in_(ids)
        )
        async with self._database.read(patience=PATIENCE) as connection:
            there = {(row[0], bytes(row[1])) for row in await connection.execute(query)}
        return len({(one.sms_activity_id, one.content.digest) for one in batch} - there)

    async def _bring_back(
        self, facts: Sequence[MessageFact], *, incarnation: UUID, generation: str
    ) -> BroughtBack:
        now = self._database.clock.now()
        accepted = _acceptances(facts)
        async with self._database.write(patience=PATIENCE) as connection:
            await self._require(connection, incarnation, generation)
            if accepted:  # the order of locks: deliveries, messages, events
                await meet(connection, [one.sms_activity_id for one in accepted])
            batch = _Batch(await _find(connection, _ids(facts)))
            done = BroughtBack()
            for fact in facts:
                if isinstance(fact, Recorded):
                    done.keys += await _merge_request(connection, batch, fact, now)
                elif isinstance(fact, OnWire | Ended):
                    which = fact.message_id if isinstance(fact, Ended) else fact.message.id
                    _merge_one(batch, which, fact, None)
                    if isinstance(fact, Ended) and fact.frees is not None:
                        await release(connection, _idempotency_key(fact.frees))
            await _write(connection, batch)
            await mark(connection, {hour for id_ in batch.wanted for hour in hours_of(id_)})
            done.messages = len(batch.wanted.keys() - batch.found.keys())
            done.outcomes = len(batch.wanted) - done.messages
            known = [one for one in accepted if batch.of(one.message_id) is not None]
            bound = await bind(connection, known, now) if known else {}
            done.forks = batch.forks
            done.outcomes += len(bound.keys() - batch.wanted.keys())
            await append(connection, _events(batch, bound), now)
        if batch.wanted:
            await self._follow_hints(set(batch.wanted), now)
        return done

    async def _require(
        self, connection: AsyncConnection, incarnation: UUID, generation: str
    ) -> None:
        newest = select(incarnations.c.nonce).order_by(incarnations.c.n.desc()).limit(1)
        is_same = (await connection.execute(newest)).scalar_one_or_none() == incarnation
        if is_same and not self._database.is_sqlite:
            is_same = await self._database.generation.read(connection) == generation
        if not is_same:
            raise StoreUnavailable("the database was restored or failed over once more")

    async def _follow_hints(self, ids: set[UUID], now: datetime) -> None:
        """Bind messages to the receipts that named them before they were back."""
        query = text(_NAMED).columns(receipts.c.message_hint, receipts.c.sms_activity_id)
        async with self._database.write(patience=PATIENCE) as connection:
            named = [row for row in await connection.execute(query) if row[0] in ids]
            if named:
                pairs = [Acceptance(message_id, sid, now) for message_id, sid in named]
                await meet_and_bind(connection, pairs, now)


def _acceptances(facts: Iterable[MessageFact]) -> list[Acceptance]:
    return [
        Acceptance(one.message_id, one.sms_activity_id, one.at)
        for one in facts
        if isinstance(one, Accepted)
    ]


def _ids(facts: Iterable[MessageFact]) -> list[UUID]:
    ids: set[UUID] = set()
    for fact in facts:
        if isinstance(fact, Recorded):
            ids |= {message.id for message in fact.messages}
        else:
            ids.add(fact.message.id if isinstance(fact, OnWire) else fact.message_id)
    return sorted(ids)


async def _find(connection: AsyncConnection, ids: Sequence[UUID]) -> dict[UUID, Known]:
    query = select(*messages.c).where(messages.c.id.in_(ids)).order_by(messages.c.id)
    rows = await connection.execute(query.with_for_update(key_share=True))
    return {
        row.id: Known(
            message_of(row),
            steps_of(row.steps),
            errors_of(row.errors),
            is_accepted=row.sms_activity_id is not None,
        )
        for row in rows
    }


async def _merge_request(
    connection: AsyncConnection, batch: _Batch, fact: Recorded, now: datetime
) -> int:
    """Merge the messages of a request and claim its key; returns how many keys were missing.

    If another request has the key by now, those messages are left out that are missing and were
    never leased: the caller got the other request's response, or will when it repeats its own.
    """
    claimed = 0
    is_ours = True
    if fact.key is not None and fact.key.claimed_at >= now - KEPT:
        claimed = await _claim(connection, fact.key)
        is_ours = bool(claimed) or await _holds(connection, fact.key)
    for message in fact.messages:
        is_new = batch.of(message.id) is None
        if is_new and not is_ours and message.state is Status.QUEUED and not message.leases:
            continue
        _merge_one(batch, message.id, fact, message)
    return claimed


def _merge_one(
    batch: _Batch, message_id: UUID, fact: Recorded | OnWire | Ended, message: Message | None
) -> None:
    before = batch.of(message_id)
    after = merge(before, fact, message)
    if after is not None and after is not before:
        batch.wanted[message_id] = after
    elif (lease := forked_lease(before, fact, message)) is not None:
        batch.forks.add((message_id, lease))


async def _claim(connection: AsyncConnection, key: ClaimedKey) -> int:
    """Claim the key as it was, unless it is claimed; returns 1 if it was free, else 0."""
    erased = erased_key(key.key, key.fingerprint)
    if await _claim_of(connection, key.app, erased) is not None:
        return 0
    row = {
        "app": key.app,
        "key": key.key,
        "fingerprint": key.fingerprint,
        "created_at": key.claimed_at,
        "message_id": key.message_id,
        "answer": key.answer,
    }
    claimed = upsert(connection, idempotency_keys).values(row).on_conflict_do_nothing()
    returned = await connection.execute(claimed.returning(idempotency_keys.c.key))
    return len(returned.all())


def _idempotency_key(key: ClaimedKey) -> IdempotencyKey:
    return IdempotencyKey(key.app, key.key, key.fingerprint, key.message_id, key.answer)


async def _holds(connection: AsyncConnection, key: ClaimedKey) -> bool:
    """Whether the claim of this key is that of the same request."""
    if await _claim_of(connection, key.app, erased_key(key.key, key.fingerprint)) is not None:
        return True
    row = await _claim_of(connection, key.app, key.key)
    return row is not None and (row.message_id, row.answer) == (key.message_id, key.answer)


async def _claim_of(connection: AsyncConnection, app: str, key: str) -> Row[Any, Any] | None:
    column = idempotency_keys.c
    query = select(column.message_id, column.answer).where(column.app == app, column.key == key)
    return (await connection.execute(query)).one_or_none()


async def _write(connection: AsyncConnection, batch: _Batch) -> None:
    new = [known for id_, known in batch.wanted.items() if id_ not in batch.found]
    changed = [known for id_, known in batch.wanted.items() if id_ in batch.found]
    if new:
        there = await _existing(connection, [one.message.resend_of for one in new])
        rows = [_inserted(known, there) for known in sorted(new, key=lambda one: one.message.id)]
        await connection.execute(insert(messages), rows)
    if changed:
        values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in _CHANGED}
        statement = update(messages).where(messages.c.id == bindparam("which")).values(values)
        await connection.execute(statement, [_updated(known) for known in changed])


async def _existing(connection: AsyncConnection, ids: Sequence[UUID | None]) -> set[UUID]:
    wanted = [id_ for id_ in ids if id_ is not None]
    if not wanted:
        return set()
    rows = await connection.execute(select(messages.c.id).where(messages.c.id.in_(wanted)))
    return set(rows.scalars())


def _inserted(known: Known, existing: set[UUID]) -> dict[str, Any]:
    row = dict(zip(COLUMNS, row_of(known.message, None), strict=True)) | _state(known)
    if known.message.resend_of not in existing:
        row["resend_of"] = None
    return row


def _updated(known: Known) -> dict[str, Any]:
    return {"which": known.message.id} | {f"new_{n}": v for n, v in _state(known).items()}


_CHANGED = (
    *("state", "state_at", "steps", "errors", "attempts", "leases", "next_attempt_at"),
    *("lease", "lease_until", "announced"),
)


def _state(known: Known) -> dict[str, Any]:
    message = known.message
    steps = [step_json(step) for step in known.steps]
    return {
        "state": str(message.state),
        "state_at": known.steps[-1].at if known.steps else message.created_at,
        "steps": json.dumps(steps, ensure_ascii=False) if steps else None,
        "errors": errors_json(known.errors),
        "attempts": message.attempts,
        "leases": message.leases,
        "next_attempt_at": message.next_attempt_at,
        "lease": message.lease,
        "lease_until": message.lease_until,
        "announced": int(message.announced),
    }


def _events(batch: _Batch, bound: Mapping[UUID, str]) -> list[NewEvent]:
    events = []
    for id_, known in batch.wanted.items():
        before = batch.found.get(id_)
        message = known.message
        if message.announced and not (before and before.message.announced):
            at = message.created_at
            events.append(NewEvent(id_, message.app, None, Status.QUEUED, at))
        is_changed = before is None or before.message.state is not message.state
        has_event = message.state not in (Status.QUEUED, Status.SENDING)
        if is_changed and has_event and id_ not in bound:
            at = known.steps[-1].at if known.steps else message.created_at
            events.append(NewEvent(id_, message.app, None, message.state, at))
    return events
