"""A message as JSON, with everything that is known to have happened to it, in order. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.lookup.texts import rfc3339
from app.model.message import Message, Record, Step, StoredReceipt
from app.model.status import Status

FAILOVER_AFTER = (Status.FAILED, Status.EXPIRED)
"""The statuses after which iovox calls through a message's call flow, as it documents."""


def describe(record: Record, *, now: datetime, patience: timedelta) -> dict[str, object]:
    """The whole answer. ``patience``: when a message without expiry counts as overdue."""
    return {**summary(record, now=now, patience=patience), "history": _history(record)}


def summary(record: Record, *, now: datetime, patience: timedelta) -> dict[str, object]:
    """The same without the history, as lists show it."""
    return {
        **_request(record.message),
        "sms_activity_id": record.sms_activity_id,
        "failover": _failover(record),
        "status": record.status,
        "status_at": rfc3339(record.status_at),
        "final": record.final,
        "contradictory": record.contradictory,
        "overdue": record.overdue(now, patience),
        "submitted_at": rfc3339(record.submitted_at),
        "resent_as": [str(message_id) for message_id in record.resent_as],
        "errors": [{"field": e.field, "message": e.message} for e in record.errors],
    }


def _request(message: Message | None) -> dict[str, object]:
    """What the app asked for; all null for what is known only from receipts."""
    request = message.request if message else None
    return {
        "id": str(message.id) if message else None,
        "app": message.app if message else None,
        "reference": request.reference if request else None,
        "origin": request.origin if request else None,
        "destination": request.destination if request else None,
        "message": request.text if request else None,
        "expiry": request.expiry if request else None,
        "c2c_failover_link_id": request.c2c_failover_link_id if request else None,
        "created_at": rfc3339(message.created_at) if message else None,
        "send_at": rfc3339(request.send_at) if request else None,
        "expires_at": rfc3339(message.expires_at) if message else None,
        "resend_of": str(message.resend_of) if message and message.resend_of else None,
    }


def _failover(record: Record) -> dict[str, object] | None:
    """What becomes of the call flow: our reading, since iovox sends no receipt of its call."""
    link = record.message.request.c2c_failover_link_id if record.message else None
    if not link:
        return None
    return {"link_id": link, "after": FAILOVER_AFTER, "called": record.status in FAILOVER_AFTER}


def _history(record: Record) -> list[dict[str, object]]:
    """Our own steps first, then the receipts in time order.

    Their times are whole seconds: a tie goes by rank (which leads the key), then received_at.
    """
    own = sorted(_own_steps(record), key=lambda step: step.at)
    theirs = sorted(record.receipts, key=lambda r: (r.at, r.key, r.received_at))
    return [_step(step) for step in own] + [_receipt(receipt) for receipt in theirs]


def _own_steps(record: Record) -> list[Step]:
    steps = list(record.steps)
    if record.submitted_at is not None:
        steps.append(Step(Status.SUBMITTED, record.submitted_at))
    return steps


def _step(step: Step) -> dict[str, object]:
    entry: dict[str, object] = {
        "status": step.status,
        "at": rfc3339(step.at),
        "source": "service",
    }
    if step.reasons:
        entry["reasons"] = list(step.reasons)
    return entry


def _receipt(receipt: StoredReceipt) -> dict[str, object]:
    return {
        "status": receipt.status,
        "at": rfc3339(receipt.at),
        "source": "iovox",
        "delivery_status": receipt.delivery_status,
        "status_reason": receipt.status_reason,
        "receipt_timestamp": receipt.receipt_timestamp,
        "time_quality": receipt.time_quality,
        "received_at": rfc3339(receipt.received_at),
        "times_seen": receipt.times_seen,
    }
