"""Times as options have them: RFC 3339, with an offset, so that they name one moment.

The ends of a range may be dates, which are London's, as in the API.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import typer


def time_option(*names: str, help: str) -> Any:  # noqa: A002  as typer has it
    """A typer option whose value is a time. Naive ones are refused, in words that name it."""
    return typer.Option(*names, parser=_moment, metavar="TIME", help=help)


def range_option(*names: str, help: str) -> Any:  # noqa: A002  as typer has it
    """The beginning or the end of a range: a time, or a date, which the service reads."""
    return typer.Option(*names, parser=_moment_or_date, metavar="TIME|DATE", help=help)


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
        return _moment(text)
