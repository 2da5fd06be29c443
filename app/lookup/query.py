"""What callers write behind the question mark, read and checked. Every fault is named at once.

A parameter that we do not know is a fault, too: a filter with a typo in its name must not answer
with everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from app.errors import FieldError, Invalid
from app.lookup.cursor import read_cursor
from app.model.search import LISTED
from app.model.status import FINAL, Status
from app.openapi import Json, parameter
from app.store.stats import GROUPINGS

LARGEST_PAGE = 500
PAGE = 50
LONGEST_WAIT = 60
LONGEST_TEXT = 255
LONGEST_NUMBER = 15
"""Digits, in E.164."""

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+\- ]\d\d:\d\d)?", re.ASCII
)
_NUMBER = re.compile(r"\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"\d{1,4}", re.ASCII)
_PUNCTUATION = re.compile(r"[\s().-]+")


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
                raise ValueError(f"is not a parameter here; there are: {', '.join(parameters)}")
            if name in values and not known.is_list:
                raise ValueError("is given more than once")
            value = known.read(_storable(text))
            values[name] = values.get(name, frozenset()) | value if known.is_list else value
        except ValueError as error:
            faults.append(FieldError(_showable(name), str(error)))
    faults += [
        FieldError(end, f"lies before {start}")
        for start, end in (("from", "to"), ("status_from", "status_to"))
        if start in values and end in values and values[end] < values[start]
    ]
    if faults:
        raise Invalid("Some parameters are at fault", errors=tuple(faults))
    return values


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
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("must be an RFC 3339 time, such as 2026-11-22T09:00:00Z")
    date, time, fraction, offset = match.groups()
    if offset is None:
        raise ValueError("must carry its offset, such as Z or +01:00")
    offset = "+00:00" if offset in "Zz" else offset.replace(" ", "+")
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


def _showable(name: str) -> str:
    return name.encode("utf-8", "replace").decode()[:100]


def _statuses(text: str) -> frozenset[Status]:
    names = text.split(",")
    if unknown := [name for name in names if name not in LISTED]:
        every = ", ".join(sorted(LISTED))
        raise ValueError(f"{_showable(unknown[0])!r} is not a status; there are: {every}")
    return frozenset(Status(name) for name in names)


def _yes_or_no(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def _destination(text: str) -> str:
    compact = _PUNCTUATION.sub("", _text(text))
    digits = compact.removeprefix("+") if compact.startswith("+") else compact.removeprefix("00")
    if not _is_number(digits):
        raise ValueError("must be a phone number in international form, such as 447700900123")
    return digits


def _origin(text: str) -> str:
    """As sends have it: digits without + or 00, or the letters as they are."""
    compact = _text(text).strip()
    digits = compact.removeprefix("+") if compact.startswith("+") else compact.removeprefix("00")
    return digits if _is_number(digits) else text


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER


def _text(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"is longer than {LONGEST_TEXT} characters")
    return text


def _limit(text: str) -> int:
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= LARGEST_PAGE:
        raise ValueError(f"must be a whole number from 1 to {LARGEST_PAGE}")
    return int(text)


def _grouping(text: str) -> str:
    if text not in GROUPINGS:
        raise ValueError(f"must be one of: {', '.join(GROUPINGS)}")
    return text


def _wait(text: str) -> float:
    if not _NUMBER.fullmatch(text) or float(text) > LONGEST_WAIT:
        raise ValueError(f"must be a number of seconds from 0 to {LONGEST_WAIT}")
    return float(text)


_TIME_SCHEMA = {"type": "string", "format": "date-time"}
_TEXT_SCHEMA = {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT}
_YES_OR_NO = {"type": "boolean"}

FROM = Parameter(moment, _TIME_SCHEMA, "Created then or later", "2026-11-01T00:00:00Z")
TO = Parameter(moment, _TIME_SCHEMA, "Created before", "2026-12-01T00:00:00Z")
APP = Parameter(
    _text,
    _TEXT_SCHEMA,
    "Of this app; needs a key with the scope `admin`, which sees all",
    "billing",
)

WAIT: Mapping[str, Parameter] = {
    "wait": Parameter(
        _wait,
        {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT},
        "Seconds to hold the answer until the status changes, unless it is final; with "
        "`If-None-Match`, only as long as the message is the one you know",
        1,
    )
}

SEARCH: Mapping[str, Parameter] = {
    "status": Parameter(
        _statuses,
        {"type": "array", "items": {"type": "string", "enum": sorted(LISTED)}, "minItems": 1},
        "Any of these; separated by commas, or the parameter repeated",
        ["FAILED", "EXPIRED"],
        is_list=True,
        more={"style": "form", "explode": False},
    ),
    "final": Parameter(_yes_or_no, _YES_OR_NO, "Whether nothing more is expected"),
    "overdue": Parameter(
        _yes_or_no, _YES_OR_NO, "Whether it should have ended by now: our reading, not iovox's"
    ),
    "contradictory": Parameter(
        _yes_or_no, _YES_OR_NO, "Whether receipts say both that it arrived and that it did not"
    ),
    "destination": Parameter(
        _destination, _TEXT_SCHEMA, "In international form, however it is written", "447700900123"
    ),
    "origin": Parameter(_origin, _TEXT_SCHEMA, "As it was sent", "447923221231"),
    "reference": Parameter(_text, _TEXT_SCHEMA, "Your own name for it, exactly", "order-42"),
    "app": APP,
    "from": FROM,
    "to": TO,
    "status_from": Parameter(
        moment, _TIME_SCHEMA, "Has its status since then or later", "2026-11-01T00:00:00Z"
    ),
    "status_to": Parameter(
        moment, _TIME_SCHEMA, "Has its status since before", "2026-12-01T00:00:00Z"
    ),
    "cursor": Parameter(
        read_cursor, {"type": "string"}, "Goes on where a page ended: its `next`, unchanged"
    ),
    "limit": Parameter(
        _limit,
        {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE},
        f"How many at most: {PAGE} if left out; of an export, all",
        PAGE,
    ),
}

STATS: Mapping[str, Parameter] = {
    "from": replace(FROM, description="Created then or later; a day before `to` if left out"),
    "to": replace(TO, description="Created before; now if left out"),
    "by": Parameter(
        _grouping,
        {"type": "string", "enum": list(GROUPINGS)},
        "What the groups have in common: status if left out. Hours and days are UTC; a reason is "
        "the `status_reason` of the receipt that made the status",
        "hour",
    ),
    "app": APP,
}


def chosen_statuses(values: Mapping[str, Any]) -> frozenset[Status] | None:
    """The statuses that ``status`` and ``final`` leave, or None where neither is given."""
    wanted: frozenset[Status] | None = values.get("status")
    if "final" not in values:
        return wanted
    of_kind = LISTED & FINAL if values["final"] else LISTED - FINAL
    return of_kind if wanted is None else wanted & of_kind
