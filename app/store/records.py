"""Rows as records: a message, its delivery and its receipts, read together in one statement.

One statement is one snapshot: the status never contradicts the history that stands beside it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Join,
    Label,
    Row,
    Select,
    Text,
    cast,
    func,
    literal_column,
    null,
    or_,
    select,
)

from app.model.message import DeliveryCounts, Record, StoredReceipt
from app.model.status import Status
from app.model.webhook import DeliveryState
from app.store.message_rows import errors_of, message_of, steps_of
from app.store.tables import deliveries, messages, receipts, webhook_deliveries

_RECEIPT = (
    receipts.c.status,
    receipts.c.at,
    receipts.c.status_key,
    receipts.c.time_quality,
    receipts.c.received_at,
    receipts.c.times_seen,
    receipts.c.delivery_status,
    receipts.c.status_reason,
    receipts.c.receipt_timestamp,
)
_TIMES = (1, 4)
"""The places in _RECEIPT of times, which are text in JSON."""

JOINED: Join = messages.outerjoin(
    deliveries, deliveries.c.sms_activity_id == messages.c.sms_activity_id
)


def of_messages(*, history: bool, is_sqlite: bool) -> Select[Any]:
    """Selects messages with their deliveries; to be narrowed."""
    receipts_of_it = _history(messages.c.sms_activity_id, is_sqlite) if history else null()
    reason_text = null() if history else _reason_text()
    return select(
        *messages.c,
        deliveries.c.status.label("delivery_status"),
        deliveries.c.status_at.label("delivery_status_at"),
        deliveries.c.seen.label("seen"),
        deliveries.c.status_key.label("delivery_key"),
        deliveries.c.reason.label("reason"),
        reason_text.label("reason_text"),
        _webhooks(is_sqlite).label("webhooks"),
        _resent_as(is_sqlite).label("resent_as"),
        receipts_of_it.label("history"),
    ).select_from(JOINED)


def of_receipts_alone(*, is_sqlite: bool) -> Select[Any]:
    """Selects deliveries without a message of ours, with the same columns."""
    nothing: dict[str, Label[Any]] = {c.name: null().label(c.name) for c in messages.c}
    nothing["sms_activity_id"] = deliveries.c.sms_activity_id.label("sms_activity_id")
    return select(
        *nothing.values(),
        deliveries.c.status.label("delivery_status"),
        deliveries.c.status_at.label("delivery_status_at"),
        deliveries.c.seen.label("seen"),
        deliveries.c.status_key.label("delivery_key"),
        deliveries.c.reason.label("reason"),
        null().label("reason_text"),
        null().label("webhooks"),
        null().label("resent_as"),
        _history(deliveries.c.sms_activity_id, is_sqlite).label("history"),
    ).where(deliveries.c.message_id.is_(None))


def record_of(row: Row[*tuple[Any, ...]]) -> Record:
    """The record from a row of ``of_messages`` or ``of_receipts_alone``."""
    history = _receipts(row.history)
    if row.id is None:
        return Record(
            message=None,
            sms_activity_id=row.sms_activity_id,
            status=row.delivery_status,
            status_at=row.delivery_status_at,
            seen=row.seen,
            reason=row.reason,
            reason_text=_reason_text_in(history, row),
            receipts=history,
        )
    status, status_at = row.delivery_status or row.state, row.delivery_status_at or row.state_at
    if row.delivery_status == Status.SUBMITTED:
        status_at = row.submitted_at
    return Record(
        message=message_of(row),
        sms_activity_id=row.sms_activity_id,
        status=status,
        status_at=status_at,
        seen=row.seen or 0,
        reason=row.reason,
        reason_text=_reason_text_in(history, row) if history else row.reason_text,
        webhooks=DeliveryCounts(*json.loads(row.webhooks)),
        submitted_at=row.submitted_at,
        errors=errors_of(row.errors) if row.errors else (),
        steps=steps_of(row.steps) if row.steps else (),
        resent_as=tuple(sorted(UUID(one) for (one,) in json.loads(row.resent_as or "[]"))),
        receipts=history,
    )


def _history(sms_activity_id: ColumnElement[str], is_sqlite: bool) -> ColumnElement[Any]:
    mine = receipts.c.sms_activity_id == sms_activity_id
    rows = _as_json(_RECEIPT, is_sqlite=is_sqlite)
    return select(rows).where(mine).correlate(messages, deliveries).scalar_subquery()


def _reason_text() -> ColumnElement[Any]:
    """iovox's delivery_status of the receipt that decides the status."""
    decides = (
        receipts.c.sms_activity_id == messages.c.sms_activity_id,
        receipts.c.status_key == deliveries.c.status_key,
        receipts.c.status_key > literal_column("0"),
    )
    texts = select(receipts.c.delivery_status).where(*decides).order_by(receipts.c.digest)
    one = texts.limit(literal_column("1"))
    return one.correlate(messages, deliveries).scalar_subquery()


def _reason_text_in(history: tuple[StoredReceipt, ...], row: Row[*tuple[Any, ...]]) -> str | None:
    decides = (one.delivery_status for one in history if one.key == row.delivery_key > 0)
    return next(decides, None)


@cache
def _webhooks(is_sqlite: bool) -> ColumnElement[Any]:
    """How many deliveries of its events to webhooks succeeded, wait, and failed, as a JSON list."""
    state = webhook_deliveries.c.state
    kinds = (
        (DeliveryState.DELIVERED,),
        (DeliveryState.PENDING,),
        (DeliveryState.FAILED, DeliveryState.CANCELLED),
    )
    counts = [
        func.count().filter(or_(*(state == literal_column(f"'{one}'") for one in kind)))
        for kind in kinds
    ]
    as_list = func.json_array(*counts) if is_sqlite else func.json_build_array(*counts)
    mine = webhook_deliveries.c.message_id == messages.c.id
    return select(cast(as_list, Text)).where(mine).correlate(messages).scalar_subquery()


@cache
def _resent_as(is_sqlite: bool) -> ColumnElement[Any]:
    again = messages.alias("again")
    rows = _as_json((again.c.id,), is_sqlite=is_sqlite)
    mine = again.c.resend_of == messages.c.id
    return select(rows).where(mine).correlate(messages).scalar_subquery()


def _as_json(columns: tuple[ColumnElement[Any], ...], *, is_sqlite: bool) -> ColumnElement[str]:
    """Rows aggregated into one JSON text: a list of lists."""
    if is_sqlite:
        return cast(func.json_group_array(func.json_array(*columns)), Text)
    return cast(func.json_agg(func.json_build_array(*columns)), Text)


def _receipts(stored: str | None) -> tuple[StoredReceipt, ...]:
    if not stored:
        return ()
    rows = json.loads(stored)
    for row in rows:
        for place in _TIMES:
            row[place] = _time(row[place])
    return tuple(StoredReceipt(*row) for row in rows)


def _time(text: str) -> datetime:
    """A time from JSON; SQLite's have no zone, since they are all UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
