"""RECEIVE, MEET and BIND for SQLite, where there is one writer at a time and no locks are needed.

BEGIN IMMEDIATE excludes every other writer before the first read, so the rules are written plainly:
read what is there, decide, write. Tests hold this and PostgreSQL's SQL to the same results.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from operator import or_
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.message import Acceptance
from app.model.receipt import Receipt
from app.model.status import Status, is_contradictory, microseconds, weight_of
from app.store.events import NewEvent, append
from app.store.evidence.pending import enqueue_receipts
from app.store.meeting.sqlite_receipts import primary_key, store
from app.store.tables import deliveries, messages, receipts
from app.store.upsert import upsert


@dataclass(slots=True)
class _Delivery:
    """The columns of a delivery that receipts change, with its message and app."""

    status: str
    status_key: int
    status_at: datetime | None
    seen: int
    message_id: UUID | None
    app: str | None
    reason: str | None = None
    received_at: datetime | None = None


async def receive(
    connection: AsyncConnection, batch: Sequence[Receipt], now: datetime
) -> list[tuple[UUID, str]]:
    """Store receipts, raise statuses, write events.

    Returns the (hint, sms_activity_id) pairs that ``bind`` has to process in the same transaction.
    """
    new = await store(connection, batch)
    known = await _deliveries(connection, {receipt.sms_activity_id for receipt in batch})
    were_contradictory = {sid for sid, one in known.items() if is_contradictory(one.seen)}
    events: list[NewEvent] = []
    for receipt in new:
        events += _raise_status(known, receipt)
    with_event = {(event.sms_activity_id, event.digest) for event in events}
    keys = map(primary_key, new)
    await enqueue_receipts(connection, [key for key in keys if key not in with_event])
    events = _with_contradictions(events, known, were_contradictory)
    await _save(connection, {r.sms_activity_id: known[r.sms_activity_id] for r in new})
    await append(connection, events, now)
    # A repetition may be the first to name the message, so every receipt's hint counts.
    return list(
        dict.fromkeys(
            (receipt.arrival.hint, receipt.sms_activity_id)
            for receipt in batch
            if receipt.arrival.hint
            and receipt.arrival.hint != known[receipt.sms_activity_id].message_id
        )
    )


async def meet(connection: AsyncConnection, sms_activity_ids: Sequence[str]) -> None:
    """Create the deliveries that do not exist yet."""
    await connection.execute(
        upsert(connection, deliveries).on_conflict_do_nothing(),
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
    events: Sequence[NewEvent], known: Mapping[str, _Delivery], were_contradictory: Collection[str]
) -> list[NewEvent]:
    """A batch's events, marked; a message that became contradictory without an event gets one."""
    contradictory = {sid for sid, delivery in known.items() if is_contradictory(delivery.seen)}
    missing = contradictory - set(were_contradictory) - {one.sms_activity_id for one in events}
    return _marked(events, contradictory) + [
        NewEvent(one.message_id, one.app, sid, one.status, one.status_at, True, True)
        for sid in sorted(missing)
        if (one := known[sid]).message_id and one.app and one.status_at
    ]


def _marked(events: Sequence[NewEvent], contradictory: Collection[str]) -> list[NewEvent]:
    """Events with ``contradictory`` as at the transaction's end; only DELIVERED ones can be."""
    return [
        replace(
            event,
            contradictory=event.status == Status.DELIVERED
            and event.sms_activity_id in contradictory,
        )
        for event in events
    ]


async def _save(connection: AsyncConnection, changed: Mapping[str, _Delivery]) -> None:
    if not changed:
        return
    new = upsert(connection, deliveries)
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


async def _bind_one(connection: AsyncConnection, pair: Acceptance) -> str | None:
    """Bind one pair; returns the message's app.

    None if nothing was bound: the message is cancelled, or it or the delivery is bound already.
    """
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
    steps = {row.status_key: row for row in rows}  # one event for each key
    seen = reduce(or_, (weight_of(row.status).flag for row in steps.values()), 0)
    events = [
        NewEvent(pair.message_id, app, pair.sms_activity_id, row.status, row.at)
        for row in steps.values()
    ]
    return _marked(events, {pair.sms_activity_id} if is_contradictory(seen) else ())
