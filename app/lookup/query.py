"""What may be asked of messages: tables that the routes and their document share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.lookup.cursor import CURSOR_PATTERN, read_cursor
from app.model.search import LISTED
from app.model.status import FINAL, Status
from app.query import TEXT_SCHEMA, Parameter, limit, moment, short_text, showable
from app.store.stats import GROUPINGS

PAGE = 50
LONGEST_WAIT = 60
LONGEST_NUMBER = 15
"""Digits, in E.164."""

_NUMBER = re.compile(r"\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_PUNCTUATION = re.compile(r"[\s().-]+")


def _statuses(text: str) -> frozenset[Status]:
    names = text.split(",")
    if unknown := [name for name in names if name not in LISTED]:
        every = ", ".join(sorted(LISTED))
        raise ValueError(f"{showable(unknown[0])!r} is not a status; there are: {every}")
    return frozenset(Status(name) for name in names)


def _yes_or_no(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def _destination(text: str) -> str:
    compact = _PUNCTUATION.sub("", short_text(text))
    digits = compact.removeprefix("+") if compact.startswith("+") else compact.removeprefix("00")
    if not _is_number(digits):
        raise ValueError("must be a phone number in international form, such as 447700900123")
    return digits


def _origin(text: str) -> str:
    """As sends have it: digits without + or 00, or the letters as they are."""
    compact = short_text(text).strip()
    digits = compact.removeprefix("+") if compact.startswith("+") else compact.removeprefix("00")
    return digits if _is_number(digits) else text


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER


def _grouping(text: str) -> str:
    if text not in GROUPINGS:
        raise ValueError(f"must be one of: {', '.join(GROUPINGS)}")
    return text


def _wait(text: str) -> float:
    if not _NUMBER.fullmatch(text) or float(text) > LONGEST_WAIT:
        raise ValueError(f"must be a number of seconds from 0 to {LONGEST_WAIT}")
    return float(text)


_TIME_SCHEMA = {"type": "string", "format": "date-time"}
_YES_OR_NO = {"type": "boolean"}

FROM = Parameter(moment, _TIME_SCHEMA, "Created then or later", "2026-11-01T00:00:00Z")
TO = Parameter(moment, _TIME_SCHEMA, "Created before", "2026-12-01T00:00:00Z")
APP = Parameter(
    short_text,
    TEXT_SCHEMA,
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
        _destination, TEXT_SCHEMA, "In international form, however it is written", "447700900123"
    ),
    "origin": Parameter(_origin, TEXT_SCHEMA, "As it was sent", "447923221231"),
    "reference": Parameter(short_text, TEXT_SCHEMA, "Your own name for it, exactly", "order-42"),
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
        read_cursor,
        {"type": "string", "pattern": CURSOR_PATTERN},
        "Goes on where a page ended: its `next`, unchanged",
    ),
    "limit": limit(PAGE, f"How many at most: {PAGE} if left out; of an export, all"),
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
