"""What one attempt means for its message: iovox's word, or the lack of one, turned into a state."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from app.errors import FieldError, NotSent, Refused, SubmissionError
from app.iovox.codes import field_of
from app.model.message import Message, Outcome, Step
from app.model.status import Status

FIRST_RETRY = 1.0
LONGEST_RETRY = 60.0
"""Seconds between attempts: doubled each time, with jitter so that replicas are out of step."""
LAST_CHANCE = timedelta(seconds=5)
"""Before a message's time is over it is tried once more, however long the wait had become."""

TOO_LATE = "its time was over before iovox had taken it"
NEVER_TRIED = "it was never tried: iovox took no messages, or too many others came first"


def failed(
    message: Message, error: SubmissionError, now: datetime, *, held_back: bool = False
) -> Outcome:
    """The outcome of an attempt that brought no id.

    ``held_back``: the breaker is open, so it is what paces the next attempts.
    """
    if isinstance(error, NotSent):
        return not_sent(message, error, now, held_back=held_back)
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
    """iovox may have it. Never sent again by us; a receipt with our id settles it."""
    return Outcome(
        message_id=message.id,
        lease=message.lease,
        step=Step(Status.UNCONFIRMED, now, reasons),
        announce=True,
    )


def not_sent(
    message: Message, error: NotSent, now: datetime, *, held_back: bool = False
) -> Outcome:
    """Back to the queue, until its time is over; iovox's own wish is a lower bound.

    While the breaker is open the wait counts from when the message's time began: whoever was let
    through to find out must not come out behind all those that were never tried.
    """
    attempts = 0 if error.busy else message.attempts
    since = message.starts_at if held_back else now
    next_attempt_at = since + retry_delay(attempts)
    if message.give_up_at is not None:
        last_chance = message.give_up_at - LAST_CHANCE
        if next_attempt_at > last_chance > now + timedelta(seconds=FIRST_RETRY):
            next_attempt_at = last_chance
    if error.retry_after is not None:
        next_attempt_at = max(next_attempt_at, now + timedelta(seconds=error.retry_after))
    return _queued(message, now, next_attempt_at, error.reasons, attempted=not error.busy)


def postponed(message: Message, now: datetime, *reasons: str) -> Outcome:
    """Back to the queue without an attempt."""
    return _queued(message, now, now + retry_delay(0), reasons, attempted=False)


def outlived(message: Message, steps: Sequence[Step], now: datetime) -> Outcome:
    """Its time is over: given up, with why it was not taken, as far as ``steps`` tell."""
    queued = [step.reasons for step in steps if step.status is Status.QUEUED and step.reasons]
    if queued:
        return given_up(message, now, TOO_LATE, *queued[-1])
    return given_up(message, now, TOO_LATE, *([] if message.attempts else [NEVER_TRIED]))


def given_up(message: Message, now: datetime, *reasons: str) -> Outcome:
    """It never left us, and now it is too late for it to. Decided without an attempt."""
    return Outcome(
        message_id=message.id,
        lease=message.lease,
        step=Step(Status.UNSENT, now, reasons),
        announce=True,
        errors=tuple(FieldError("request", reason) for reason in reasons),
        attempted=False,
    )


def retry_delay(attempts: int) -> timedelta:
    """How long to wait after so many earlier attempts."""
    seconds = min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(attempts, 16))
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
