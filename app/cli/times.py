"""Times as options have them: RFC 3339, with an offset, so that they name one moment.

The ends of a range may be dates, which are London's, as in the API.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import typer

from app.model.london import end_of, midnight

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}


def time_option(*names: str, help: str) -> Any:  # noqa: A002  as typer has it
    """A typer option whose value is a time. Naive ones are refused, in words that name it."""
    return typer.Option(*names, parser=_moment, metavar="TIME", help=help)


def since_option(*names: str, help: str) -> Any:  # noqa: A002  as typer has it
    """The beginning of a range: a time, or a date from its midnight in London on."""
    return typer.Option(*names, parser=_or_date(midnight), metavar="TIME|DATE", help=help)


def until_option(*names: str, help: str) -> Any:  # noqa: A002  as typer has it
    """The end of a range: a time, or a date with its whole day."""
    return typer.Option(*names, parser=_or_date(end_of), metavar="TIME|DATE", help=help)


def lifetime_option(*names: str, help: str) -> Any:  # noqa: A002  as typer has it
    """A time that lies in the future, or a date, or how long from now: 90d, 12h."""
    return typer.Option(*names, parser=_future, metavar="TIME|DATE|DURATION", help=help)


def _future(text: str) -> datetime:
    now = datetime.now(UTC)
    count, unit = text[:-1], text[-1:]
    if count.isascii() and count.isdecimal() and unit in _UNITS and int(count[:6]) > 0:
        return now + int(count[:6]) * _UNITS[unit]
    try:
        found = _or_date(midnight)(text)
    except typer.BadParameter:
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


def _or_date(of_date: Callable[[date], datetime]) -> Callable[[str], datetime]:
    def moment_or_date(text: str) -> datetime:
        try:
            return of_date(date.fromisoformat(text))
        except OverflowError:
            raise typer.BadParameter("is no time that exists") from None
        except ValueError:
            return _moment(text)

    return moment_or_date
