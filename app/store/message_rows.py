"""Rows of `messages` as values of ``app.model``, and what its JSON columns hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from app.errors import FieldError
from app.model.message import Message, Request, Step
from app.model.status import Status


@dataclass(frozen=True, slots=True)
class Tracked:
    """A message with our own steps so far, and iovox's acceptance or refusal."""

    message: Message
    sms_activity_id: str | None
    errors: tuple[FieldError, ...]
    steps: tuple[Step, ...]


def tracked(row: Row[*tuple[Any, ...]]) -> Tracked:
    """A message and its steps from a row that has every column of `messages`."""
    return Tracked(message_of(row), row.sms_activity_id, errors_of(row.errors), steps_of(row.steps))


def errors_of(stored: str | None) -> tuple[FieldError, ...]:
    """The refusal's errors, from the column `errors`."""
    return tuple(FieldError(e["field"], e["message"]) for e in json.loads(stored or "[]"))


def steps_of(stored: str | None) -> tuple[Step, ...]:
    """Our own steps, oldest first, from the column `steps`."""
    return tuple(
        Step(Status(s["status"]), datetime.fromisoformat(s["at"]), tuple(s["reasons"]))
        for s in json.loads(stored or "[]")
    )


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
        leases=row.leases,
        announced=bool(row.announced),
        lease=row.lease,
        lease_until=row.lease_until,
        next_attempt_at=row.next_attempt_at,
        give_up_at=row.give_up_at,
        resend_of=row.resend_of,
        erased_at=row.erased_at,
    )


def errors_json(errors: Sequence[FieldError]) -> str | None:
    """For the column `errors`."""
    if not errors:
        return None
    return json.dumps([{"field": e.field, "message": e.message} for e in errors])
