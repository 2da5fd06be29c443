"""Conversion of Europe/London local time to UTC, with its quality. Pure; the text is untrusted.

iovox writes ``receipt_timestamp`` as London local time to the second, without an offset. In one
hour a year that is ambiguous (the clocks go back), in another it does not exist (they go forward);
``TimeQuality`` reports both. The time zone rules come from the ``tzdata`` package, never from the
operating system: a slim container has none, and an old one has outdated ones.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import StrEnum
from importlib.resources import files
from typing import NamedTuple
from zoneinfo import ZoneInfo

CLOCK_SKEW = timedelta(seconds=30)
"""How far iovox's clock may be ahead of ours before a time counts as in the future."""

_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[ T]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r" ?(?:(Z|GMT|UTC|BST)|([+-])([0-9]{2}):?([0-9]{2})?)?",
    re.IGNORECASE | re.ASCII,
)
_BRITISH_SUMMER_TIME = "BST"


def _load_london() -> ZoneInfo:
    with files("tzdata").joinpath("zoneinfo/Europe/London").open("rb") as rules:
        return ZoneInfo.from_file(rules, key="Europe/London")


LONDON = _load_london()


_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


def midnight(day: date) -> datetime:
    """The UTC time at which this day begins in London. Raises OverflowError beyond the years."""
    return datetime.combine(day, time(), LONDON).astimezone(UTC)


def end_of(day: date) -> datetime:
    """The UTC time at which this day ends in London: the next one's midnight. Raises likewise."""
    return midnight(day + _DAY)


class Offsets(NamedTuple):
    """London's offsets from UTC before and from a change of its clocks on."""

    change: datetime
    before: timedelta
    after: timedelta


def offsets(start: datetime, end: datetime) -> Offsets:
    """The offsets within a range that is too short for two changes of the clocks: a few months.

    Without a change both are the same.
    """
    before, after = _offset(start), _offset(end)
    first, last = start, end
    while before != after and last - first > _SECOND:
        middle = first + (last - first) / 2
        if _offset(middle) == before:
            first = middle
        else:
            last = middle
    return Offsets(last.replace(microsecond=0), before, after)


def _offset(moment: datetime) -> timedelta:
    return moment.astimezone(LONDON).utcoffset() or timedelta(0)


class TimeQuality(StrEnum):
    """How reliable the UTC time of a receipt is."""

    EXACT = "exact"
    REPEATED = "repeated"  # ambiguous: the hour that occurs twice in October
    MISSING = "missing"  # non-existent: the hour that is skipped in March
    OFFSET = "offset"  # the text carried its own offset
    RECEIVED = "received"  # absent or unreadable: replaced by the time of reception
    AHEAD = "ahead"  # after the time of reception, which replaces it: a wrong clock or zone


class Interpretation(NamedTuple):
    """The earlier and the later UTC time of a text; they differ only in the repeated hour."""

    quality: TimeQuality
    earlier: datetime
    later: datetime


def to_utc(text: str | None, received_at: datetime) -> tuple[datetime, TimeQuality]:
    """Convert a receipt's time to UTC.

    In the repeated hour the result is the latest of the two times that is not after ``received_at``
    (plus ``CLOCK_SKEW``), or the earlier one if both are. Text that cannot be parsed gives
    ``received_at`` with the quality RECEIVED, and any time after ``received_at`` (plus
    ``CLOCK_SKEW``) gives it with AHEAD. Raises ValueError if ``received_at`` is naive.
    """
    if received_at.tzinfo is None:
        raise ValueError("received_at must be time zone aware")
    found = parse_local_time(text) if text is not None else None
    if found is None:
        return received_at.astimezone(UTC), TimeQuality.RECEIVED
    if not is_ahead(found.later, received_at):  # the same as the earlier, but in one hour a year
        return found.later, found.quality
    if not is_ahead(found.earlier, received_at):
        return found.earlier, found.quality
    return received_at.astimezone(UTC), TimeQuality.AHEAD


def is_ahead(moment: datetime, received_at: datetime) -> bool:
    """Whether a receipt received then cannot have been made at that moment."""
    return moment - received_at > CLOCK_SKEW


def parse_local_time(text: str) -> Interpretation | None:
    """Parse a text; None if it is not a time."""
    match = _TIMESTAMP.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone, sign, offset_hours, offset_minutes = (
        match.groups()
    )
    if zone and zone.upper() == _BRITISH_SUMMER_TIME:
        offset_hours = "1"
    try:
        wall = datetime(  # noqa: DTZ001  the zone is resolved below
            int(year), int(month), int(day), int(hour), int(minute), int(second),
            int(f"{fraction or '0':0<6}"[:6]),
        )  # fmt: skip
        if zone or sign:
            return _with_offset(wall, sign, int(offset_hours or 0), int(offset_minutes or 0))
        return _in_london(wall)
    except (ValueError, OverflowError):
        return None  # a date that does not exist, or a UTC time outside the years 1 to 9999


def _with_offset(wall: datetime, sign: str | None, hours: int, minutes: int) -> Interpretation:
    if minutes > 59:
        raise ValueError("an offset has at most 59 minutes")
    offset = timedelta(hours=hours, minutes=minutes)
    utc = wall.replace(tzinfo=timezone(-offset if sign == "-" else offset)).astimezone(UTC)
    return Interpretation(TimeQuality.OFFSET, utc, utc)


def _in_london(wall: datetime) -> Interpretation:
    """Detect both odd hours, which zoneinfo does not report: by the two folds and a round trip."""
    earlier = wall.replace(tzinfo=LONDON, fold=0).astimezone(UTC)
    later = wall.replace(tzinfo=LONDON, fold=1).astimezone(UTC)
    if earlier == later:
        return Interpretation(TimeQuality.EXACT, earlier, later)
    if earlier.astimezone(LONDON).replace(tzinfo=None) != wall:
        # In a gap, fold 0 uses the offset before the change, which is the documented rule.
        return Interpretation(TimeQuality.MISSING, earlier, earlier)
    return Interpretation(TimeQuality.REPEATED, earlier, later)
