"""Times as options have them: RFC 3339, with an offset, so that they name one moment.

The ends of a range may be dates, which are London's, as in the API.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import typer

from app.model.london import midnight

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}


def time_option(*names: str, help: str) -> Any:  # noqa: A002  as typer has it
    """A typer option whose value is a time. Naive ones are refused, in words that name it."""
    return typer.Option(*names, parser=_moment, metavar="TIME", help=help)


def range_option(*names: str, help: str) -> Any:  # noqa: A002  as typer has it
    """The beginning or the end of a range: a time, or a date, which the service reads."""
    return typer.Option(*names, parser=_moment_or_date, metavar="TIME|DATE", help=help)


def lifetime_option(*names: str, help: str) -> Any:  # noqa: A002  as typer has it
    """A time that lies in the future, or a date, or how long from now: 90d, 12h."""
    return typer.Option(*names, parser=_future, metavar="TIME|DATE|DURATION", help=help)


def _future(text: str) -> datetime:
    now = datetime.now(UTC)
    count, unit = text[:-1], text[-1:]
    if count.isascii() and count.isdecimal() and unit in _UNITS and int(count[:6]) > 0:
        return now + int(count[:6]) * _UNITS[unit]
    try:
        read = _moment_or_date(text)
        found = read if isinstance(read, datetime) else midnight(read)
    except (typer.BadParameter, OverflowError):
        raise typer.BadParameter(
            "must be such as 90d, 12h, 2027-01-31 or 2027-01-31T09:00:00Z"
        ) from None
    if found <= now:
        raise typer.BadParameter("must lie in the future")
    return found


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise typer.BadParameter("must be a time with its offset, such as 2026-11-22T09:00:00Z")
    return found


def _moment_or_date(text: str) -> datetime | date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        pass
    try:
        return _moment(text)
    except typer.BadParameter as error:
        raise typer.BadParameter(f"{error.message}, or a date, such as 2026-11-22") from None
