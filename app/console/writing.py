"""How times, spans, numbers and counts are written on the pages. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from app.model.london import LONDON
from app.model.numbers import as_written
from app.model.verdict import clock, day, duration

COUNTED = 1_000
"""Counts stop here: the exact number decides nothing, and counting on would cost more."""


def date_and_time(at: datetime, now: datetime) -> str:
    """``6 May 18:37:36``; with its year where that is not the current one."""
    local = at.astimezone(LONDON)
    year = "" if local.year == now.astimezone(LONDON).year else f" {local.year}"
    return f"{local.day} {local:%b}{year} {local:%H:%M:%S}"


def utc(at: datetime) -> str:
    """The same in UTC."""
    return f"{at.astimezone(UTC):%H:%M:%S} UTC"


def iso(at: datetime) -> str:
    """For machines, and in the title of a time."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def weekday(at: datetime) -> str:
    """``Wednesday 6 May 2020``, in London."""
    local = at.astimezone(LONDON)
    return f"{local:%A} {local.day} {local:%B %Y}"


def ago(at: datetime, now: datetime) -> str:
    """``3 minutes ago``."""
    span = now - at
    if span < timedelta(seconds=5):
        return "just now" if span > -timedelta(seconds=5) else f"in {duration(-span)}"
    return f"{duration(span)} ago"


def gap(span: timedelta) -> str:
    """A gap between two steps: ``+0.4 s``, ``+9 s``, ``+3 min``, ``+2 days``; none is nothing."""
    seconds = span.total_seconds()
    if abs(seconds) < 0.05 or -1 < seconds < 0:
        return ""  # iovox's times have no fractions: a step may seem to precede the one before
    if seconds < 0:
        return f"−{-seconds:.0f} s"
    if seconds < 10:
        return f"+{seconds:.1f} s".replace(".0 s", " s")
    if seconds < 120:
        return f"+{seconds:.0f} s"
    if seconds < 7_200:
        return f"+{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"+{seconds / 3600:.0f} h"
    return f"+{seconds / 86_400:.0f} days"


def taken(seconds: int) -> str:
    """How long something took: ``9 s``, ``12 min``, ``3 h``."""
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3600:.0f} h"


def count(number: int) -> str:
    """``1,234``."""
    return f"{number:,}"


def counted(number: int) -> str:
    """A count that stops at COUNTED."""
    return f"{COUNTED:,} and more" if number >= COUNTED else f"{number:,}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """``1 message``, ``2 messages``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def details(values: Mapping[str, Any]) -> str:
    """What an entry of the audit says besides: ``app: billing; statuses: FAILED, EXPIRED``."""
    said = []
    for name, value in values.items():
        shown = value
        if isinstance(value, bool):
            shown = "yes" if value else "no"
        elif isinstance(value, list | tuple):
            shown = ", ".join(map(str, value))
        if shown is not None:
            said.append(f"{name.replace('_', ' ')}: {shown}")
    return "; ".join(said)


FILTERS: Mapping[str, Callable[..., Any]] = {
    "number": lambda text: as_written(text) if text else "",
    "clock": clock,
    "day": day,
    "date_and_time": date_and_time,
    "utc": utc,
    "iso": iso,
    "weekday": weekday,
    "ago": ago,
    "gap": gap,
    "duration": duration,
    "details": details,
    "taken": taken,
    "count": count,
    "counted": counted,
    "plural": plural,
}
