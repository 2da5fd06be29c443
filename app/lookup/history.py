"""Conversion of a record to the models of responses, with and without its history. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from app.lookup.responses import (
    FAILOVER_AFTER,
    DeliveryCounts,
    Failover,
    Message,
    MessageSummary,
    Receipt,
    Step,
    UnmatchedId,
)
from app.model import message as model
from app.model.london import TimeQuality
from app.model.status import Status
from app.store.unmatched import Unmatched


def describe(
    record: model.Record, *, now: datetime, overdue_after: timedelta, texts: bool
) -> Message:
    """The message with its history.

    ``overdue_after``: the age from which a message without expiry counts as overdue. ``texts``:
    whether the reader is shown what the message says.
    """
    return Message(**_summary(record, now, overdue_after, texts), history=_history(record))


def summary(
    record: model.Record, *, now: datetime, overdue_after: timedelta, texts: bool
) -> MessageSummary:
    """The message without its history, for lists."""
    return MessageSummary(**_summary(record, now, overdue_after, texts))


def unmatched(found: Unmatched) -> UnmatchedId:
    """What is known of an id from receipts alone."""
    record = found.record
    return UnmatchedId(
        sms_activity_id=record.sms_activity_id or "",
        status=Status(record.status),
        status_at=record.status_at,
        final=record.final,
        contradictory=record.contradictory,
        received_at=found.received_at,
        receipts=_receipts(record),
    )


def _summary(
    record: model.Record, now: datetime, overdue_after: timedelta, texts: bool
) -> dict[str, Any]:
    message = record.message
    request = message.request if message else None
    return {
        "id": message.id if message else None,
        "app": message.app if message else None,
        "reference": request.reference if request else None,
        "origin": request.origin if request else None,
        "destination": (request.destination or None) if request else None,
        "message": (request.text or None) if request and texts else None,
        "expiry": request.expiry if request else None,
        "c2c_failover_link_id": request.c2c_failover_link_id if request else None,
        "failover": _failover(record),
        "created_at": message.created_at if message else None,
        "send_at": request.send_at if request else None,
        "expires_at": message.expires_at if message else None,
        "resend_of": message.resend_of if message else None,
        "erased_at": message.erased_at if message else None,
        "sms_activity_id": record.sms_activity_id,
        "status": record.status,
        "status_at": record.status_at,
        "status_reason": record.reason,
        "reason": record.why,
        "final": record.final,
        "contradictory": record.contradictory,
        "overdue": record.overdue(now, overdue_after),
        "submitted_at": record.submitted_at,
        "resent_as": list(record.resent_as),
        "errors": list(record.errors),
        "webhooks": DeliveryCounts(
            delivered=record.webhooks.delivered,
            pending=record.webhooks.pending,
            failed=record.webhooks.failed,
        ),
    }


def _failover(record: model.Record) -> Failover | None:
    """The state of the call flow, derived from the status: iovox sends no receipt of the call."""
    link = record.message.request.c2c_failover_link_id if record.message else None
    if not link:
        return None
    called = record.status in FAILOVER_AFTER
    return Failover(link_id=link, after=FAILOVER_AFTER, called=called)


def _history(record: model.Record) -> list[Step | Receipt]:
    """Our own steps first, then the receipts by time.

    Receipts' times are whole seconds, so ties are frequent: they are ordered by status key (rank
    first), then by received_at.
    """
    own = sorted(_own_steps(record), key=lambda step: step.at)
    return [*map(_step, own), *_receipts(record)]


def _receipts(record: model.Record) -> list[Receipt]:
    theirs = sorted(record.receipts, key=lambda r: (r.at, r.key, r.received_at))
    return [_receipt(each) for each in theirs]


def _own_steps(record: model.Record) -> list[model.Step]:
    steps = list(record.steps)
    if record.submitted_at is not None:
        steps.append(model.Step(Status.SUBMITTED, record.submitted_at))
    return steps


def _step(step: model.Step) -> Step:
    if step.reasons:
        return Step(status=step.status, at=step.at, source="service", reasons=list(step.reasons))
    return Step(status=step.status, at=step.at, source="service")


def _receipt(receipt: model.StoredReceipt) -> Receipt:
    return Receipt(
        status=receipt.status,
        at=receipt.at,
        source="iovox",
        delivery_status=receipt.delivery_status,
        status_reason=receipt.status_reason,
        receipt_timestamp=receipt.receipt_timestamp,
        time_quality=TimeQuality(receipt.time_quality),
        received_at=receipt.received_at,
        times_seen=receipt.times_seen,
    )
