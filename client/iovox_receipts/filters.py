"""Filters, typed, and their conversion to query parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Literal, TypedDict, cast

from iovox_receipts.models import rfc3339

Params = Mapping[str, str | Sequence[str]]
Grouping = Literal["hour", "day", "status", "reason", "origin", "app"]
Value = str | bool | int | date | Sequence[str] | None


class Filters(TypedDict, total=False):
    """Which messages ``list`` and ``all`` return: those that match every filter that is given.

    ``status`` is one or any of several. ``destination`` and ``origin`` may be written as people
    write numbers. ``from_`` and ``to``: created then or later, and before; ``status_from`` and
    ``status_to``: the same for when the status was reached; a date is London's, from its midnight
    and until its end. ``app`` needs an admin's key. None is the same as left out.
    """

    status: str | Sequence[str] | None
    final: bool | None
    overdue: bool | None
    contradictory: bool | None
    destination: str | None
    origin: str | None
    reference: str | None
    app: str | None
    from_: date | None
    to: date | None
    status_from: date | None
    status_to: date | None


def filter_params(filters: Filters) -> dict[str, str | Sequence[str]]:
    """The filters as query parameters. Raises TypeError for a name that is no filter."""
    if unknown := filters.keys() - Filters.__annotations__.keys():
        every = ", ".join(Filters.__annotations__)
        raise TypeError(f"{min(unknown)!r} is not a filter; there are: {every}")
    return params(cast("Mapping[str, Value]", filters))


def params(values: Mapping[str, Value]) -> dict[str, str | Sequence[str]]:
    """Query parameters, without those that are None. ``from_`` is ``from``, Python's keyword."""
    return {
        name.removesuffix("_"): _text(value) for name, value in values.items() if value is not None
    }


def _text(value: Value) -> str | Sequence[str]:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, str | int) or value is None else list(value)
