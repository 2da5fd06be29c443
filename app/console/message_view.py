"""A message as its page tells it: the verdict, the steps with their gaps, what iovox said. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.lookup.responses import Message, Receipt, Step
from app.model.london import TimeQuality
from app.model.message import Record
from app.model.segments import segments_of
from app.model.status import Status
from app.model.verdict import Facts, clock, day, verdict
from app.model.words import REASONS, STATUSES, TIMES, Tone, Words
from app.store.verbatim import ReceiptBody

_STEPS = {
    Status.QUEUED: ("Recorded, to be sent", "It waits here for its turn."),
    Status.SUBMITTED: ("Sent to iovox", "iovox accepted it."),
    Status.UNCONFIRMED: ("iovox’s answer was lost", "It may have been sent; it is not repeated."),
    Status.REJECTED: ("Refused by iovox", "It was never sent."),
    Status.UNSENT: ("Given up", "It never left us."),
    Status.CANCELLED: ("Taken back", "It never left us."),
}
_RECEIPTS = {
    Status.ACKNOWLEDGED: (
        "Acknowledged by the network",
        "It has the message and tries to deliver.",
    ),
    Status.BUFFERED: ("Held by the network", "The handset is off or out of reach; it tries again."),
    Status.DELIVERED: ("Delivered", "The handset has it."),
    Status.FAILED: ("Failed", "The network gave up."),
    Status.EXPIRED: ("Expired", "Not delivered in time; it may still arrive, says iovox."),
}


@dataclass(frozen=True, slots=True)
class TimelineStep:
    """One entry of the timeline. ``sure`` says how sure iovox's time is, ``said`` is its JSON; both
    are None for our own steps. ``gap``: the time since the entry before.
    """

    title: str
    means: str
    at: datetime
    tone: Tone | None
    gap: timedelta | None
    sure: str | None = None
    is_unsure: bool = False
    said: str | None = None
    received_at: datetime | None = None
    times_seen: int = 1


@dataclass(frozen=True, slots=True)
class Page:
    """What the page of a message shows."""

    message: Message
    words: Words
    steps: Sequence[TimelineStep]
    length: int | None
    segments: int | None
    encoding: str | None
    attempts: int


def page_of(
    record: Record, message: Message, said: Sequence[ReceiptBody], *, now: datetime
) -> Page:
    """``message`` is the API's answer for this record; ``said`` are the receipts' bodies."""
    own = record.message
    size = segments_of(own.request.text) if own and own.request.text else None
    attempts = own.attempts if own and record.status == Status.QUEUED else 0
    facts = Facts(
        status=message.status,
        status_at=message.status_at,
        submitted_at=message.submitted_at,
        created_at=message.created_at,
        send_at=message.send_at,
        contradictory=message.contradictory,
        overdue=message.overdue,
        reason=message.reason,
        errors=[error.message for error in message.errors],
        attempts=attempts,
    )
    return Page(
        message=message,
        words=verdict(facts, now=now),
        steps=_steps(message, record, said),
        length=len(own.request.text) if own and own.request.text else None,
        segments=size.count if size else None,
        encoding=str(size.encoding) if size else None,
        attempts=attempts,
    )


def _steps(message: Message, record: Record, said: Sequence[ReceiptBody]) -> list[TimelineStep]:
    bodies = {(one.status, one.key, one.received_at): one.body for one in said}
    keys = iter(sorted(record.receipts, key=lambda r: (r.at, r.key, r.received_at)))
    steps: list[TimelineStep] = []
    if message.created_at is not None:
        asked = f"{message.app} asked for it."
        steps.append(TimelineStep("Asked for", asked, message.created_at, None, None))
    for entry in message.history:
        before = steps[-1].at if steps else None
        gap = entry.at - before if before is not None else None
        if isinstance(entry, Receipt):
            stored = next(keys)
            body = bodies.get((stored.status, stored.key, stored.received_at))
            steps.append(_receipt(entry, gap, body))
        else:
            steps.append(_own(entry, gap, message.send_at))
    return steps


def _own(step: Step, gap: timedelta | None, send_at: datetime | None) -> TimelineStep:
    title, means = _STEPS.get(step.status, (step.status.title(), ""))
    if step.status is Status.QUEUED and send_at is not None and send_at > step.at:
        until = f"{day(send_at, step.at)} at {clock(send_at, seconds=False)}"
        title, means = "Recorded, to be sent later", f"It waits here until {until}."
    if step.reasons:
        means = f"{means} {'; '.join(step.reasons)}".strip()
    tone = STATUSES[step.status].tone if step.status is not Status.SUBMITTED else None
    return TimelineStep(title, means, step.at, tone, gap)


def _receipt(entry: Receipt, gap: timedelta | None, body: bytes | None) -> TimelineStep:
    known = Status(entry.status) if entry.status in _RECEIPTS else None
    title, means = f"“{entry.status}”", "A status that we do not know."
    if known is not None:
        title, means = _RECEIPTS[known]
    told = [f"iovox wrote “{entry.delivery_status}”."] if entry.delivery_status else []
    if entry.status_reason:
        meaning = REASONS.get(entry.status_reason)
        told.append(f"Reason {entry.status_reason}" + (f": {meaning}" if meaning else "."))
    sentence = "".join(f" {one}" for one in told)
    quality = entry.time_quality
    return TimelineStep(
        title,
        means + sentence,
        entry.at,
        STATUSES[known].tone if known else Tone.ODD,
        gap,
        sure=TIMES[quality],
        is_unsure=quality not in (TimeQuality.EXACT, TimeQuality.OFFSET),
        said=_text(body) if body is not None else None,
        received_at=entry.received_at,
        times_seen=entry.times_seen,
    )


def _text(body: bytes) -> str:
    """The bytes as they came; what is no text shows as escapes."""
    return body.decode("utf-8", "backslashreplace")


def pretty(body: str) -> str:
    """JSON with a line for each member; other text as it is."""
    try:
        return json.dumps(json.loads(body), indent=1, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body
