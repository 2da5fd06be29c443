"""A status change as apps are told of it: in the feed, the live stream and the webhooks. Pure.

An event's number says its place in the order of commits. Outside it is opaque text: each digit of
the number with a second one that checks it, so that a cursor that was cut short or tampered with is
refused instead of skipping what lies between. A check by digit can be written down as a pattern,
which a checksum cannot: the OpenAPI document says exactly which texts are well-formed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from app.model.status import Status

DIGITS = 12
"""Hexadecimal: room for 281,474,976,710,655 events."""

_PAIRS = {digit: f"{digit}{15 - int(digit, 16):x}" for digit in "0123456789abcdef"}
ID_PATTERN = f"^({'|'.join(_PAIRS.values())}){{{DIGITS}}}$"

_ID = re.compile(ID_PATTERN.removeprefix("^").removesuffix("$"))


ANNOUNCED = tuple(s for s in Status if s not in (Status.SENDING, Status.UNKNOWN))
"""The statuses that there are events of."""


@dataclass(frozen=True, slots=True)
class Event:
    """One status change. ``at`` is when it happened, ``recorded_at`` when we committed it."""

    number: int
    message_id: UUID
    app: str
    sms_activity_id: str | None
    reference: str | None
    status: str
    at: datetime
    recorded_at: datetime

    def __repr__(self) -> str:
        return f"Event({self.number})"

    @property
    def id(self) -> str:
        """The number as it is shown, and as a reader hands it back."""
        return event_id(self.number)


def event_id(number: int) -> str:
    """A place in the log as text; 0 is the place before the first event."""
    return "".join(_PAIRS[digit] for digit in f"{number:0{DIGITS}x}")


def event_number(text: str) -> int:
    """The place that ``event_id`` wrote down. Raises ValueError for any other text."""
    if _ID.fullmatch(text) is None:
        raise ValueError("it is not an event's id as this service gave it")
    return int(text[::2], 16)


def read_statuses(values: Iterable[str]) -> list[Status]:
    """Statuses of events, one a value or several with commas; any case, in a fixed order.

    Raises ValueError that names one that is not known.
    """
    names = [name.strip() for value in values for name in value.split(",")]
    for name in names:
        if name.upper() not in ANNOUNCED:
            raise ValueError(f"{name[:40]!r} is none of {', '.join(ANNOUNCED)}")
    wanted = {name.upper() for name in names}
    return [status for status in ANNOUNCED if status in wanted]


def event_body(event: Event) -> dict[str, object]:
    """The JSON object that stands for an event everywhere."""
    return {
        "id": event.id,
        "message_id": str(event.message_id),
        "sms_activity_id": event.sms_activity_id,
        "reference": event.reference,
        "status": event.status,
        "at": rfc3339(event.at),
        "recorded_at": rfc3339(event.recorded_at),
    }


def event_json(event: Event) -> str:
    """The same as text on one line, whatever the reference holds."""
    return json.dumps(event_body(event))


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC, ending in Z."""
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
