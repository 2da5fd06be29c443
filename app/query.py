"""What callers write behind the question mark, read and checked. Every fault is named at once.

A parameter that we do not know is a fault, too: a filter with a typo in its name must not answer
with everything. Each route has a table of its own; this knows none of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.errors import FieldError, Invalid
from app.openapi import Json, parameter

LARGEST_PAGE = 500
LONGEST_TEXT = 255

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_LOST_PLUS = re.compile(r" (?=\d\d:\d\d$)", re.ASCII)
_WHOLE = re.compile(r"\d{1,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing to ask for. ``read`` raises ValueError with what is wrong."""

    read: Callable[[str], Any]
    schema: Json
    description: str
    example: Any = None
    is_list: bool = False
    more: Json = field(default_factory=dict)


def read_query(
    items: Iterable[tuple[str, str]], parameters: Mapping[str, Parameter]
) -> dict[str, Any]:
    """The values by name; of a list, all of them. Raises Invalid, which names every fault."""
    values: dict[str, Any] = {}
    faults: list[FieldError] = []
    for name, text in items:
        known = parameters.get(name)
        try:
            if known is None:
                raise ValueError(f"is not a parameter here; {_offer(parameters)}")
            if name in values and not known.is_list:
                raise ValueError("is given more than once")
            value = known.read(_storable(text))
            values[name] = values.get(name, frozenset()) | value if known.is_list else value
        except ValueError as error:
            faults.append(FieldError(showable(name), str(error)))
    faults += [
        FieldError(end, f"lies before {start}")
        for start, end in (("from", "to"), ("status_from", "status_to"))
        if start in values and end in values and values[end] < values[start]
    ]
    if faults:
        raise Invalid("Some parameters are at fault", errors=tuple(faults))
    return values


def only_named(items: Iterable[tuple[str, str]], *known: str) -> None:
    """The same where something else reads the values. Raises Invalid."""
    read_query(items, {name: Parameter(str, {}, "") for name in known})


def documented(parameters: Mapping[str, Parameter]) -> list[Json]:
    """The same for the OpenAPI document."""
    return [
        parameter(
            name,
            one.schema,
            one.description,
            **({"example": one.example} if one.example is not None else {}),
            **one.more,
        )
        for name, one in parameters.items()
    ]


def moment(text: str) -> datetime:
    """An RFC 3339 time. A plus that nobody has escaped arrives as a space, and is taken for one."""
    return rfc3339(_LOST_PLUS.sub("+", text))


def rfc3339(text: str) -> datetime:
    """The time in UTC. Raises ValueError."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("must be an RFC 3339 time, such as 2026-11-22T09:00:00Z")
    date, time, fraction, offset = match.groups()
    if offset is None:
        raise ValueError("must carry its offset, such as Z or +01:00")
    offset = "+00:00" if offset in "Zz" else offset
    try:
        return datetime.fromisoformat(f"{date}T{time}.{fraction or '0':0<6.6}{offset}").astimezone(
            UTC
        )
    except (ValueError, OverflowError):
        raise ValueError("is no time that exists") from None


def _storable(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    if "\x00" in text or "\ufffd" in text:
        raise ValueError("has characters that no text can hold")
    return text


def _offer(names: Iterable[str]) -> str:
    every = ", ".join(names)
    return f"there are: {every}" if every else "there are none"


def showable(name: str) -> str:
    """A text from outside as a problem may quote it."""
    return name.encode("utf-8", "replace").decode()[:100]


def short_text(text: str) -> str:
    """Any text that fits a column. Raises ValueError."""
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"is longer than {LONGEST_TEXT} characters")
    return text


def _page_size(text: str) -> int:
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= LARGEST_PAGE:
        raise ValueError(f"must be a whole number from 1 to {LARGEST_PAGE}")
    return int(text)


TEXT_SCHEMA: Json = {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT}


def limit(default: int, description: str) -> Parameter:
    """The parameter of that name, the same wherever there are pages."""
    schema = {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE}
    return Parameter(_page_size, schema, description, default)
