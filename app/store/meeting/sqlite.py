"""RECEIVE, MEET and BIND for SQLite, where there is one writer at a time and no locks are needed.

BEGIN IMMEDIATE excludes every other writer before the first read, so the rules are written plainly:
read what is there, decide, write. Tests hold this and PostgreSQL's SQL to the same results.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from operator import or_
from uuid import UUID

from sqlalchemy import insert, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.message import Acceptance
from app.model.receipt import Arrival, Receipt
from app.model.status import Status, is_contradictory, microseconds, weight_of
from app.store.events import NewEvent, append
from app.store.meeting.postgresql import MOST_ARRIVALS_KEPT
from app.store.tables import (
    deliveries,
    erased,
    evidence_logs,
    evidence_pending,
    messages,
    receipts,
)


@dataclass(slots=True)
class _Delivery:
    status: str
    status_key: int
    status_at: datetime | None
    seen: int
    message_id: UUID | None
    app: str | None
    reason: str | None = None
    received_at: datetime | None = None


@dataclass(slots=True)
class _Kept:
    """A receipt as it is stored, or is about to be."""

    id: UUID
    also: list[str]
    times_seen: int
    received_at: datetime
    is_changed: bool = False

    def count(self, arrival: Arrival) -> None:
        """Count the receipt once more, unless it is an arrival that was counted already."""
        again = str(arrival.id)
        if arrival.id == self.id or again in self.also:
            return
        self.also = sorted([*self.also, again], reverse=True)[:MOST_ARRIVALS_KEPT]
        self.times_seen += 1
        # One that waited in a spool may have arrived first.
        self.received_at = min(self.received_at, arrival.received_at)
        self.is_changed = True

    def columns(self) -> dict[str, object]:
        return {
            "also": json.dumps(self.also) if self.also else None,
            "times_seen": self.times_seen,
            "received_at": self.received_at,
        }


async def receive(
    connection: AsyncConnection, batch: Sequence[Receipt], now: datetime
) -> list[tuple[UUID, str]]:
    """Store receipts, raise statuses, write events; returns the hints that are left to bind."""
    fresh = await _store(connection, batch)
    known = await _deliveries(connection, {receipt.sms_activity_id for receipt in batch})
    were_contradictory = {sid for sid, one in known.items() if is_contradictory(one.seen)}
    due: list[NewEvent] = []
    for receipt in fresh:
        due += _raise_status(known, receipt)
    told = {(event.sms_activity_id, event.digest) for event in due}
    await _tell_evidence(
        connection, [r for r in fresh if (r.sms_activity_id, r.content.digest) not in told]
    )
    due = _with_contradictions(due, known, were_contradictory)
    await _save(connection, {r.sms_activity_id: known[r.sms_activity_id] for r in fresh})
    await append(connection, due, now)
    # A repetition may be the first to name the message, so every receipt's hint counts.
    return list(
        dict.fromkeys(
            (receipt.arrival.hint, receipt.sms_activity_id)
            for receipt in batch
            if receipt.arrival.hint
            and receipt.arrival.hint != known[receipt.sms_activity_id].message_id
        )
    )


async def _store(connection: AsyncConnection, batch: Sequence[Receipt]) -> list[Receipt]:
    """Insert the receipts or count them; returns those that are new.

    Each statement is a switch of threads, so a batch takes as many as one receipt, but for one
    update for each that is repeated.
    """
    kept = await _kept(connection, batch)
    fresh: list[Receipt] = []
    for receipt in batch:
        name = (receipt.sms_activity_id, receipt.content.digest)
        if name in kept:
            kept[name].count(receipt.arrival)
        else:
            kept[name] = _Kept(receipt.arrival.id, [], 1, receipt.arrival.received_at)
            fresh.append(receipt)
    new = [
        _columns(receipt) | kept.pop((receipt.sms_activity_id, receipt.content.digest)).columns()
        for receipt in fresh
    ]
    if new:
        await connection.execute(insert(receipts), new)
        names = {receipt.sms_activity_id for receipt in fresh}
        await _drop_bodies_of_erased(connection, names)
    for (sms_activity_id, digest), one in kept.items():
        if one.is_changed:
            same = (receipts.c.sms_activity_id == sms_activity_id) & (receipts.c.digest == digest)
            await connection.execute(update(receipts).where(same).values(**one.columns()))
    return fresh


async def _drop_bodies_of_erased(connection: AsyncConnection, names: set[str]) -> None:
    """In the transaction that stored them: they are never committed."""
    gone = select(erased.c.sms_activity_id).where(erased.c.sms_activity_id.in_(names))
    await connection.execute(
        update(receipts).where(receipts.c.sms_activity_id.in_(gone)).values(body=b"")
    )


async def _tell_evidence(connection: AsyncConnection, untold: Sequence[Receipt]) -> None:
    """Where there is an evidence log it gets the new receipts from here, or from their events."""
    if not untold:
        return
    is_kept = select(evidence_logs.c.id).where(evidence_logs.c.ended_at.is_(None)).limit(1)
    if (await connection.execute(is_kept)).first() is not None:
        await connection.execute(
            insert(evidence_pending),
            [
                {"sms_activity_id": one.sms_activity_id, "digest": one.content.digest}
                for one in untold
            ],
        )


async def _kept(
    connection: AsyncConnection, batch: Sequence[Receipt]
) -> dict[tuple[str, bytes], _Kept]:
    """The receipts of the batch that are stored already."""
    names = tuple_(receipts.c.sms_activity_id, receipts.c.digest)
    found = await connection.execute(
        select(
            receipts.c.sms_activity_id,
            receipts.c.digest,
            receipts.c.id,
            receipts.c.also,
            receipts.c.times_seen,
            receipts.c.received_at,
        ).where(names.in_([(receipt.sms_activity_id, receipt.content.digest) for receipt in batch]))
    )
    return {
        (row.sms_activity_id, row.digest): _Kept(
            row.id, json.loads(row.also) if row.also else [], row.times_seen, row.received_at
        )
        for row in found
    }


def _columns(receipt: Receipt) -> dict[str, object]:
    content = receipt.content
    return {
        "id": receipt.arrival.id,
        "sms_activity_id": receipt.sms_activity_id,
        "digest": content.digest,
        "status": content.status,
        "status_key": content.key,
        "delivery_status": content.delivery_status,
        "status_reason": content.status_reason,
        "receipt_timestamp": content.receipt_timestamp,
        "at": content.at,
        "time_quality": content.time_quality,
        "body": receipt.arrival.body,
        "message_hint": receipt.arrival.hint,
    }


async def _deliveries(connection: AsyncConnection, ids: set[str]) -> dict[str, _Delivery]:
    found = await connection.execute(
        select(
            deliveries.c.sms_activity_id,
            deliveries.c.status,
            deliveries.c.status_key,
            deliveries.c.status_at,
            deliveries.c.seen,
            deliveries.c.message_id,
            deliveries.c.app,
            deliveries.c.reason,
            deliveries.c.received_at,
        ).where(deliveries.c.sms_activity_id.in_(ids))
    )
    return {row[0]: _Delivery(*row[1:]) for row in found}


def _raise_status(known: dict[str, _Delivery], receipt: Receipt) -> list[NewEvent]:
    """Apply one new receipt to its delivery; returns the event that it causes, if any."""
    delivery = known.setdefault(
        receipt.sms_activity_id, _Delivery(Status.UNKNOWN, 0, None, 0, None, None)
    )
    content = receipt.content
    if delivery.message_id is None and delivery.received_at is None:
        delivery.received_at = receipt.arrival.received_at
    delivery.seen |= content.flag
    if content.key <= delivery.status_key:
        return []
    delivery.status, delivery.status_key = content.status, content.key
    delivery.status_at = content.at
    delivery.reason = content.status_reason
    if delivery.app is None or delivery.message_id is None:
        return []
    sms_activity_id = receipt.sms_activity_id
    return [
        NewEvent(
            delivery.message_id,
            delivery.app,
            sms_activity_id,
            content.status,
            content.at,
            digest=content.digest,
        )
    ]


def _with_contradictions(
    due: Sequence[NewEvent], known: Mapping[str, _Delivery], were_contradictory: Collection[str]
) -> list[NewEvent]:
    """A batch's events, marked; a message that became contradictory without one gets one."""
    contradictory = {sid for sid, delivery in known.items() if is_contradictory(delivery.seen)}
    untold = contradictory - set(were_contradictory) - {event.sms_activity_id for event in due}
    return _marked(due, contradictory) + [
        NewEvent(one.message_id, one.app, sid, one.status, one.status_at, True, True)
        for sid in sorted(untold)
        if (one := known[sid]).message_id and one.app and one.status_at
    ]


def _marked(due: Sequence[NewEvent], contradictory: Collection[str]) -> list[NewEvent]:
    """``contradictory`` as it is when the transaction ends. Such a message is DELIVERED."""
    return [
        replace(
            event,
            contradictory=event.status == Status.DELIVERED
            and event.sms_activity_id in contradictory,
        )
        for event in due
    ]


async def _save(connection: AsyncConnection, changed: Mapping[str, _Delivery]) -> None:
    if not changed:
        return
    new = upsert(deliveries)
    values = ("status", "status_key", "status_at", "reason", "seen", "received_at")
    await connection.execute(
        new.on_conflict_do_update(
            index_elements=["sms_activity_id"], set_={name: new.excluded[name] for name in values}
        ),
        [
            {"sms_activity_id": sid, **{name: getattr(delivery, name) for name in values}}
            for sid, delivery in changed.items()
        ],
    )


async def meet(connection: AsyncConnection, sms_activity_ids: Sequence[str]) -> None:
    """Create the deliveries that do not exist yet."""
    await connection.execute(
        upsert(deliveries).on_conflict_do_nothing(),
        [{"sms_activity_id": s, "status": Status.SUBMITTED} for s in sms_activity_ids],
    )


async def bind(
    connection: AsyncConnection, pairs: Sequence[Acceptance], now: datetime
) -> dict[UUID, str]:
    """Bind messages to deliveries, write the events of earlier receipts; returns the bindings."""
    bound: dict[UUID, str] = {}
    new: list[NewEvent] = []
    for pair in pairs:
        app = await _bind_one(connection, pair)
        if app is None:
            continue
        bound[pair.message_id] = pair.sms_activity_id
        new.append(NewEvent(pair.message_id, app, pair.sms_activity_id, Status.SUBMITTED, pair.at))
        new += await _events_of_earlier_receipts(connection, pair, app)
    await append(connection, new, now)
    return bound


async def _bind_one(connection: AsyncConnection, pair: Acceptance) -> str | None:
    """The message's app, or None where message or delivery is bound to another already."""
    free = deliveries.c.message_id.is_(None)
    this = deliveries.c.sms_activity_id == pair.sms_activity_id
    found = await connection.execute(select(deliveries.c.status_key).where(this & free))
    key = found.scalar_one_or_none()
    if key is None:
        return None
    taken = (
        update(messages)
        .where(
            messages.c.id == pair.message_id,
            messages.c.sms_activity_id.is_(None),
            messages.c.state != Status.CANCELLED,
        )
        .values(
            sms_activity_id=pair.sms_activity_id,
            state=Status.SUBMITTED,
            state_at=pair.at,
            submitted_at=pair.at,
            lease=None,
            lease_until=None,
            next_attempt_at=None,
        )
        .returning(messages.c.app, messages.c.created_at, messages.c.expires_at)
    )
    row = (await connection.execute(taken)).one_or_none()
    if row is None:
        return None
    values: dict[str, object] = {
        "message_id": pair.message_id,
        "app": row.app,
        "expires_at": row.expires_at,
        "created_key": 2 * microseconds(row.created_at),
        "submitted_key": 2 * microseconds(pair.at),
    }
    if key == 0:
        values["status"] = Status.SUBMITTED
    await connection.execute(update(deliveries).where(this).values(**values))
    return str(row.app)


async def _events_of_earlier_receipts(
    connection: AsyncConnection, pair: Acceptance, app: str
) -> list[NewEvent]:
    rows = await connection.execute(
        select(receipts.c.status_key, receipts.c.status, receipts.c.at)
        .where(receipts.c.sms_activity_id == pair.sms_activity_id, receipts.c.status_key > 0)
        .order_by(receipts.c.status_key, receipts.c.digest)
    )
    steps = {row.status_key: row for row in rows}  # one event a key
    seen = reduce(or_, (weight_of(row.status).flag for row in steps.values()), 0)
    due = [
        NewEvent(pair.message_id, app, pair.sms_activity_id, row.status, row.at)
        for row in steps.values()
    ]
    return _marked(due, {pair.sms_activity_id} if is_contradictory(seen) else ())
