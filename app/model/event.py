"""The event of a status change, for the feed, the live stream and the webhooks. Pure.

An event's number is its position in commit order, in the incarnation of the database that gave it
out: a database that forgets gives the same numbers to other events. In the API both are an opaque
id: each hexadecimal digit is followed by a check digit, so a cursor that was truncated or altered
is refused instead of skipping events. Check digits rather than a checksum, because a regular
expression can describe them: the OpenAPI document says exactly which ids are well-formed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from app.model.status import Status

Known = TypeVar("Known", bound=str)

DIGITS = 12
"""Hexadecimal digits of a number: enough for 281,474,976,710,655 events."""

_CHECKED_DIGITS = {digit: f"{digit}{15 - int(digit, 16):x}" for digit in "0123456789abcdef"}
"""Each digit with its check digit, its complement to 15."""
_DIGIT = f"({'|'.join(_CHECKED_DIGITS.values())})"
ERA_DIGITS = 8
ID_PATTERN = f"^(v{_DIGIT}{{{ERA_DIGITS}}})?{_DIGIT}{{{DIGITS}}}$"

_ID = re.compile(ID_PATTERN.removeprefix("^").removesuffix("$"))


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the log. ``era`` stands for the incarnation of the database in which it was given
    out; 0 for the first, also before there were any.
    """

    number: int
    era: int = 0

    def __str__(self) -> str:
        return event_id(self.number, self.era)


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a cursor is valid in the log. ``number``: where to go on."""

    number: int
    is_forgotten: bool = False


EVENT_STATUSES = tuple(s for s in Status if s not in (Status.SENDING, Status.UNKNOWN))
"""The statuses that have events."""


@dataclass(frozen=True, slots=True)
class Event:
    """One status change. ``at`` is when it happened, ``recorded_at`` when it was committed.

    ``contradictory`` is whether the message was so by then. Where the ``status_stays``, that alone
    is the change: a message that was delivered has a receipt now that says it was not.
    """

    number: int
    message_id: UUID
    app: str
    sms_activity_id: str | None
    reference: str | None
    status: str
    at: datetime
    recorded_at: datetime
    contradictory: bool = False
    status_stays: bool = False
    era: int = 0

    def __repr__(self) -> str:
        return f"Event({self.number})"

    @property
    def id(self) -> str:
        """The number in its external form, which a client passes back as a cursor."""
        return event_id(self.number, self.era)


def event_id(number: int, era: int = 0) -> str:
    """The id of an event number; 0 is the position before the first event."""
    digits = _checked(number, DIGITS)
    return f"v{_checked(era, ERA_DIGITS)}{digits}" if era else digits


def event_cursor(text: str) -> Cursor:
    """What an id made by ``event_id`` stands for. Raises ValueError for any other text."""
    if _ID.fullmatch(text) is None:
        raise ValueError("it is not an event's id as this service gave it")
    era, digits = text[: -2 * DIGITS], text[-2 * DIGITS :]
    return Cursor(int(digits[::2], 16), int(era[1::2], 16) if era else 0)


def event_number(text: str) -> int:
    """The number of an id made by ``event_id``. Raises ValueError for any other text."""
    return event_cursor(text).number


def era_of(nonce: UUID) -> int:
    """The era of an incarnation of the database; never 0."""
    return int.from_bytes(nonce.bytes[:4]) or 1


def reach(cursor: Cursor, eras: Sequence[tuple[int, int]]) -> Reach:
    """How far a cursor reaches in a log with these eras, each with the last event that it has in
    common with the one before, in order.

    A cursor of an unknown era was given out in one that the database has forgotten itself.
    """
    place = (
        0 if not cursor.era else next((n for n, e in enumerate(eras) if e[0] == cursor.era), None)
    )
    later = eras[1:] if place is None else eras[place + 1 :]
    common = min((last for _, last in later), default=None)
    if place is None:
        return Reach(min(cursor.number, common or 0), is_forgotten=True)
    if common is not None and cursor.number > common:
        return Reach(common, is_forgotten=True)
    return Reach(cursor.number)


def _checked(value: int, digits: int) -> str:
    return "".join(_CHECKED_DIGITS[digit] for digit in f"{value:0{digits}x}")


def parse_statuses(values: Iterable[str]) -> list[Status]:
    """Parse statuses of events: ``parse_names`` of EVENT_STATUSES."""
    return parse_names(values, EVENT_STATUSES)


def parse_names(values: Iterable[str], known: Sequence[Known]) -> list[Known]:
    """Parse names in any case, one per value or separated by commas; in the order of ``known``.

    Raises ValueError that quotes the first unknown one.
    """
    names = [name.strip() for value in values for name in value.split(",")]
    for name in names:
        if name.upper() not in known:
            raise ValueError(f"{name[:40]!r} is none of {', '.join(known)}")
    wanted = {name.upper() for name in names}
    return [status for status in known if status in wanted]


def event_body(event: Event) -> dict[str, object]:
    """The JSON object of an event, the same in the feed, the stream and the webhooks."""
    return {
        "id": event.id,
        "message_id": str(event.message_id),
        "sms_activity_id": event.sms_activity_id,
        "reference": event.reference,
        "status": event.status,
        "contradictory": event.contradictory,
        "at": rfc3339(event.at),
        "recorded_at": rfc3339(event.recorded_at),
    }


def event_json(event: Event) -> str:
    """``event_body`` as text on one line: JSON escapes line breaks in the reference."""
    return json.dumps(event_body(event))


def rfc3339(moment: datetime) -> str:
    """An RFC 3339 timestamp in UTC, ending in Z."""
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
