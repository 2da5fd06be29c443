"""What became of a message, in one sentence that can be read to a customer on the phone. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.model.london import LONDON
from app.model.status import Status
from app.model.words import (
    CONTRADICTORY,
    HELD_BACK,
    OVERDUE,
    SCHEDULED,
    Words,
    words_of,
)

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a message, as the API returns it. ``attempts`` are those of a message that
    is QUEUED again, because it was surely not sent; 0 otherwise.
    """

    status: str
    status_at: datetime | None
    submitted_at: datetime | None = None
    created_at: datetime | None = None
    send_at: datetime | None = None
    contradictory: bool = False
    overdue: bool = False
    reason: str | None = None
    errors: Sequence[str] = ()
    attempts: int = 0


def verdict(facts: Facts, *, now: datetime) -> Words:
    """The words for these facts, with their heading completed: when, how long it took, why."""
    scheduled = facts.send_at is not None and facts.send_at > now
    words = words_of(
        facts.status,
        scheduled=scheduled,
        held_back=facts.attempts > 0,
        contradictory=facts.contradictory,
        overdue=facts.overdue,
    )
    return replace(words, heading=_heading(words, facts, now))


def _heading(words: Words, facts: Facts, now: datetime) -> str:
    if words is SCHEDULED and facts.send_at is not None:
        return f"Will be sent on {day(facts.send_at, now)} at {clock(facts.send_at, seconds=False)}"
    if words is HELD_BACK:
        since = f" since {moment(facts.status_at, now)}" if facts.status_at else ""
        return f"{words.heading}{since}"
    if words is OVERDUE and facts.created_at is not None:
        return f"No final word for {duration(now - facts.created_at)}"
    if words is CONTRADICTORY:
        return words.heading
    if facts.status == Status.DELIVERED and facts.status_at is not None:
        return f"{words.heading} at {_at(facts.status_at, facts.created_at)}{_after(facts)}"
    if facts.status in (Status.FAILED, Status.EXPIRED) and facts.reason:
        return f"{words.heading} (“{facts.reason}”)"
    if facts.status == Status.REJECTED and facts.errors:
        return f"{words.heading}: “{'”, “'.join(facts.errors)}”"
    return words.heading


def _at(at: datetime, made: datetime | None) -> str:
    """The time; with its day where that is not the day on which the message was made."""
    if made is not None and made.astimezone(LONDON).date() != at.astimezone(LONDON).date():
        return f"{clock(at)} on {_day(at)}"
    return clock(at)


def _after(facts: Facts) -> str:
    sent, at = facts.submitted_at, facts.status_at
    if sent is None or at is None:
        return ""
    taken = at - sent
    if taken < timedelta(seconds=1):
        return ", within a second of being sent"
    return f", {duration(taken)} after it was sent"


def duration(span: timedelta) -> str:
    """``10 seconds``, ``2 minutes``, ``3 days``: whole units of the largest that fits, minutes
    from two on.
    """
    seconds = max(0, round(span.total_seconds()))
    for size, name in _UNITS:
        if seconds >= size * (2 if name == "minute" else 1) or size == 1:
            count = seconds // size
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "0 seconds"


def clock(at: datetime, *, seconds: bool = True) -> str:
    """London's time of day."""
    return at.astimezone(LONDON).strftime("%H:%M:%S" if seconds else "%H:%M")


def day(at: datetime, now: datetime) -> str:
    """London's day, with its year where that is not the current one."""
    local, today = at.astimezone(LONDON), now.astimezone(LONDON)
    return _day(at) if local.year == today.year else f"{_day(at)} {local.year}"


def moment(at: datetime, now: datetime) -> str:
    """London's time, with its day where that is not today."""
    local, today = at.astimezone(LONDON), now.astimezone(LONDON)
    if local.date() == today.date():
        return clock(at, seconds=False)
    return f"{clock(at, seconds=False)} on {day(at, now)}"


def _day(at: datetime) -> str:
    local = at.astimezone(LONDON)
    return f"{local.day} {local:%B}"
