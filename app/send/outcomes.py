"""Outcomes: what the end of an attempt, or a decision not to make one, means for its message."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.errors import FieldError, NotSent, Refused, SubmissionError
from app.iovox.codes import field_of
from app.model.message import Message, Outcome, Step
from app.model.status import Status

BASE_BACKOFF = 1.0
MAX_BACKOFF = 60.0
"""Seconds between attempts: doubled each time, with jitter so that replicas are out of step."""
FINAL_ATTEMPT_MARGIN = timedelta(seconds=5)
"""However long the backoff, a last attempt is made this long before the message's deadline."""

TOO_LATE = "its time was over before iovox had taken it"
NEVER_TRIED = "it was never tried: iovox took no messages, or too many others came first"


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """The status of a message as its caller is given it."""

    message_id: UUID
    status: Status
    sms_activity_id: str | None = None
    errors: tuple[FieldError, ...] = ()
    reasons: tuple[str, ...] = ()


def failed(
    message: Message, error: SubmissionError, now: datetime, *, breaker_open: bool = False
) -> Outcome:
    """The outcome of an attempt that brought no id."""
    if isinstance(error, NotSent):
        return not_sent(message, error, now, breaker_open=breaker_open)
    if isinstance(error, Refused):
        return Outcome(
            message_id=message.id,
            lease=message.lease,
            step=Step(Status.REJECTED, now, error.reasons),
            announce=True,
            errors=tuple(FieldError(field_of(w) or "request", w) for w in error.reasons),
        )
    return unconfirmed(message, now, *error.reasons)


def unconfirmed(message: Message, now: datetime, *reasons: str) -> Outcome:
    """iovox may have it. We never send it again; a receipt that names our id settles it."""
    return Outcome(
        message_id=message.id,
        lease=message.lease,
        step=Step(Status.UNCONFIRMED, now, reasons),
        announce=True,
    )


def not_sent(
    message: Message, error: NotSent, now: datetime, *, breaker_open: bool = False
) -> Outcome:
    """Back to the queue with backoff; iovox's Retry-After is a lower bound.

    While the breaker is open it paces the attempts. The backoff then counts from the message's
    start, so that a failed probe keeps its place ahead of messages that were never tried. (A start
    in the future is one from before the clock was set back.)
    """
    attempts = 0 if error.busy else message.attempts
    since = min(message.starts_at, now) if breaker_open else now
    next_attempt_at = since + backoff(attempts)
    if message.give_up_at is not None:
        final_attempt_at = message.give_up_at - FINAL_ATTEMPT_MARGIN
        if next_attempt_at > final_attempt_at > now + timedelta(seconds=BASE_BACKOFF):
            next_attempt_at = final_attempt_at
    if error.retry_after is not None:
        next_attempt_at = max(next_attempt_at, now + timedelta(seconds=error.retry_after))
    return _queued(message, now, next_attempt_at, error.reasons, attempted=not error.busy)


def requeued(message: Message, now: datetime, *reasons: str) -> Outcome:
    """Back to the queue without an attempt."""
    return _queued(message, now, now + backoff(0), reasons, attempted=False)


def never_attempted(message: Message, now: datetime, *reasons: str) -> Outcome:
    """Back to its place in the queue."""
    return _queued(message, now, min(message.starts_at, now), reasons, attempted=False)


def past_deadline(message: Message, steps: Sequence[Step], now: datetime) -> Outcome:
    """UNSENT, with the reasons of the last failed attempt in ``steps``, if there is one."""
    queued = [step.reasons for step in steps if step.status is Status.QUEUED and step.reasons]
    if queued:
        return unsent(message, now, TOO_LATE, *queued[-1])
    return unsent(message, now, TOO_LATE, *([] if message.attempts else [NEVER_TRIED]))


def unsent(message: Message, now: datetime, *reasons: str) -> Outcome:
    """Given up: it was surely not sent, and will not be. Decided without an attempt."""
    return Outcome(
        message_id=message.id,
        lease=message.lease,
        step=Step(Status.UNSENT, now, reasons),
        announce=True,
        errors=tuple(FieldError("request", reason) for reason in reasons),
        attempted=False,
    )


def backoff(attempts: int) -> timedelta:
    """The wait before the next attempt, after so many earlier ones."""
    seconds = min(MAX_BACKOFF, BASE_BACKOFF * 2 ** min(attempts, 16))
    return timedelta(seconds=seconds * random.uniform(0.5, 1.0))  # noqa: S311  no secret


def _queued(
    message: Message,
    now: datetime,
    next_attempt_at: datetime,
    reasons: tuple[str, ...],
    *,
    attempted: bool,
) -> Outcome:
    return Outcome(
        message_id=message.id,
        lease=message.lease,
        step=Step(Status.QUEUED, now, reasons),
        announce=not message.announced,
        next_attempt_at=next_attempt_at,
        attempted=attempted,
    )
