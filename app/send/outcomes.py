"""What one attempt means for its message: iovox's word, or the lack of one, turned into a state."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from app.errors import FieldError, NotSent, Refused, SubmissionError
from app.iovox.codes import fault_of
from app.model.message import Message, Outcome, Step
from app.model.status import Status

FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
"""Seconds between attempts: doubled each time, with jitter so that replicas are out of step."""


def failed(message: Message, error: SubmissionError, now: datetime) -> Outcome:
    """The outcome of an attempt that brought no id."""
    if isinstance(error, NotSent):
        return not_sent(message, error, now)
    if isinstance(error, Refused):
        return Outcome(
            message_id=message.id,
            lease=message.lease,
            step=Step(Status.REJECTED, now, error.reasons),
            announce=True,
            errors=tuple(FieldError(fault_of(w).field or "request", w) for w in error.reasons),
        )
    return unconfirmed(message, now, *error.reasons)


def unconfirmed(message: Message, now: datetime, *reasons: str) -> Outcome:
    """iovox may have it. Never sent again by us; a receipt with our id settles it."""
    return Outcome(
        message_id=message.id,
        lease=message.lease,
        step=Step(Status.UNCONFIRMED, now, reasons),
        announce=True,
    )


def not_sent(message: Message, error: NotSent, now: datetime) -> Outcome:
    """Back to the queue, or given up where its time is over before the next attempt."""
    next_attempt_at = now + retry_delay(message.attempts, error.retry_after)
    if message.give_up_at is not None and next_attempt_at >= message.give_up_at:
        return given_up(message, now, *error.reasons)
    return Outcome(
        message_id=message.id,
        lease=message.lease,
        step=Step(Status.QUEUED, now, error.reasons),
        announce=not message.announced,
        next_attempt_at=next_attempt_at,
    )


def given_up(message: Message, now: datetime, *reasons: str, attempted: bool = True) -> Outcome:
    """It never left us, and now it is too late for it to."""
    return Outcome(
        message_id=message.id,
        lease=message.lease,
        step=Step(Status.UNSENT, now, reasons),
        announce=True,
        attempted=attempted,
    )


def retry_delay(attempts: int, retry_after: float | None) -> timedelta:
    """How long to wait after so many earlier attempts; iovox's own wish is a lower bound."""
    seconds = min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(attempts, 16))
    seconds *= random.uniform(0.5, 1.0)  # noqa: S311  jitter is no secret
    return timedelta(seconds=max(seconds, retry_after or 0.0))
