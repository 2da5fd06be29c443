"""Europe/London wall-clock text to UTC, saying how sure the answer is. Pure; trusts no text.

iovox writes ``receipt_timestamp`` as London local time to the second, without an offset. One hour
a year that names two instants and one hour a year it names none; neither is guessed silently.
The zone's rules come from the ``tzdata`` package, never from the machine: a slim container has
none, and an old one has old ones.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from importlib.resources import files
from typing import NamedTuple
from zoneinfo import ZoneInfo

CLOCK_ALLOWANCE = timedelta(seconds=30)
"""How far iovox's clock may run ahead of ours before a reading counts as 'in the future'."""

_TEXT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[ Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r" ?(?:([Zz])|([+-])([0-9]{2}):?([0-9]{2})?)?"
)


def _load_london() -> ZoneInfo:
    with files("tzdata").joinpath("zoneinfo/Europe/London").open("rb") as rules:
        return ZoneInfo.from_file(rules, key="Europe/London")


LONDON = _load_london()


class TimeQuality(StrEnum):
    """What we know of a receipt's time."""

    EXACT = "exact"
    REPEATED = "repeated"  # the hour that October has twice
    MISSING = "missing"  # the hour that March skips
    OFFSET = "offset"  # the text carried its own offset
    RECEIVED = "received"  # absent or unreadable: the time we received it stands in


class Reading(NamedTuple):
    """What a text can mean: the earlier instant and the later one (the same but in October)."""

    quality: TimeQuality
    earlier: datetime
    later: datetime


def to_utc(text: str | None, received_at: datetime) -> tuple[datetime, TimeQuality]:
    """Turn a receipt's time into UTC.

    Of the repeated hour's two readings it takes the latest that is not after ``received_at`` (with
    ``CLOCK_ALLOWANCE``), and the earlier one where both are. Never raises: what cannot be read is
    ``received_at``, marked ``received``. ``received_at`` must be aware.
    """
    if received_at.tzinfo is None:
        raise ValueError("received_at must carry its zone")
    reading = read(text) if text is not None else None
    if reading is None:
        return received_at.astimezone(UTC), TimeQuality.RECEIVED
    is_repeated = reading.quality is TimeQuality.REPEATED
    if is_repeated and reading.later <= received_at + CLOCK_ALLOWANCE:
        return reading.later, reading.quality
    return reading.earlier, reading.quality


def read(text: str) -> Reading | None:
    """What the text can mean, or None where it is no time."""
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zulu, sign, off_hour, off_minute = (
        match.groups()
    )
    try:
        wall = datetime(  # noqa: DTZ001  the zone is what this module is about to find
            int(year), int(month), int(day), int(hour), int(minute), int(second),
            int(f"{fraction or '0':0<6}"[:6]),
        )  # fmt: skip
        if zulu or sign:
            return _with_offset(wall, sign, int(off_hour or 0), int(off_minute or 0))
        return _in_london(wall)
    except (ValueError, OverflowError):
        return None  # the 31st of February, or an instant outside the years 1 to 9999


def _with_offset(wall: datetime, sign: str | None, hours: int, minutes: int) -> Reading:
    if minutes > 59:
        raise ValueError("an offset has at most 59 minutes")
    offset = timedelta(hours=hours, minutes=minutes)
    utc = wall.replace(tzinfo=timezone(-offset if sign == "-" else offset)).astimezone(UTC)
    return Reading(TimeQuality.OFFSET, utc, utc)


def _in_london(wall: datetime) -> Reading:
    """zoneinfo resolves both odd hours without a word; the folds and a round trip tell them."""
    earlier = wall.replace(tzinfo=LONDON, fold=0).astimezone(UTC)
    later = wall.replace(tzinfo=LONDON, fold=1).astimezone(UTC)
    if earlier == later:
        return Reading(TimeQuality.EXACT, earlier, later)
    if earlier.astimezone(LONDON).replace(tzinfo=None) != wall:
        # In a gap fold 0 reads with the offset before the change, which is the rule we want.
        return Reading(TimeQuality.MISSING, earlier, earlier)
    return Reading(TimeQuality.REPEATED, earlier, later)
