"""What may be asked of messages: filters, cursors, ids. Texts come from outside and are checked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictStr,
)

from app.lookup.cursor import CURSOR_PATTERN, read_cursor
from app.model.search import LISTED
from app.model.status import FINAL, Status
from app.web.faults import quoted
from app.web.query import (
    Boolean,
    Moment,
    PageSize,
    Query,
    ShortText,
    not_before,
)

PAGE = 50
LONGEST_WAIT = 60
LONGEST_NUMBER = 15
"""Digits, in E.164."""
MOST_IDS = 1_000

_NUMBER = re.compile(r"\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_PUNCTUATION = re.compile(r"[\s().-]+")


def _statuses(values: object) -> object:
    """Separated by commas, or the parameter repeated."""
    if not isinstance(values, list):
        return values
    names = [name for value in values for name in str(value).split(",")]
    if unknown := [name for name in names if name not in LISTED]:
        every = ", ".join(sorted(LISTED))
        raise ValueError(f"{quoted(unknown[0])!r} is not a status; there are: {every}")
    return names


def _destination(text: str) -> str:
    compact = _PUNCTUATION.sub("", text)
    digits = compact.removeprefix("+") if compact.startswith("+") else compact.removeprefix("00")
    if not _is_number(digits):
        raise ValueError("must be a phone number in international form, such as 447700900123")
    return digits


def _origin(text: str) -> str:
    """As sends have it: digits without + or 00, or the letters as they are."""
    compact = text.strip()
    digits = compact.removeprefix("+") if compact.startswith("+") else compact.removeprefix("00")
    return digits if _is_number(digits) else text


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER


def _wait(text: object) -> float:
    if not (isinstance(text, str) and _NUMBER.fullmatch(text) and float(text) <= LONGEST_WAIT):
        raise ValueError(f"must be a number of seconds from 0 to {LONGEST_WAIT}")
    return float(text)


if TYPE_CHECKING:  # made of a table, which type checkers do not follow
    ListedStatus = Status
else:
    ListedStatus = Literal[tuple(sorted(LISTED))]

Statuses = Annotated[list[ListedStatus], BeforeValidator(_statuses)]
Cursor = Annotated[
    UUID,
    BeforeValidator(
        read_cursor, json_schema_input_type=Annotated[str, Field(pattern=CURSOR_PATTERN)]
    ),
]


class MessageFilters(Query):
    """Which messages are listed; what is left out leaves a thing open."""

    status: Statuses = Field(
        [],
        description="Any of these; separated by commas, or the parameter repeated",
    )
    final: Boolean | None = Field(None, description="Whether nothing more is expected")
    overdue: Boolean | None = Field(
        None, description="Whether it should have ended by now: our reading, not iovox's"
    )
    contradictory: Boolean | None = Field(
        None, description="Whether receipts say both that it arrived and that it did not"
    )
    destination: Annotated[ShortText, AfterValidator(_destination)] | None = Field(
        None, description="In international form, however it is written, such as +44 7700 900123"
    )
    origin: Annotated[ShortText, AfterValidator(_origin)] | None = Field(
        None, description="As it was sent"
    )
    reference: ShortText | None = Field(None, description="Your own name for it, exactly")
    app: ShortText | None = Field(
        None, description="Of this app; needs a key with the scope `admin`, which sees all"
    )
    from_: Moment | None = Field(None, alias="from", description="Created then or later")
    to: Annotated[Moment | None, not_before("from_")] = Field(None, description="Created before")
    status_from: Moment | None = Field(None, description="Has its status since then or later")
    status_to: Annotated[Moment | None, not_before("status_from")] = Field(
        None, description="Has its status since before"
    )
    cursor: Cursor | None = Field(
        None, description="Goes on where a page ended: its `next`, unchanged"
    )
    limit: PageSize | None = Field(
        None, description=f"How many at most: {PAGE} if left out; of an export, all"
    )

    def statuses(self) -> frozenset[Status] | None:
        """The statuses that ``status`` and ``final`` leave; None where neither is given."""
        wanted = frozenset(self.status) if self.status else None
        if self.final is None:
            return wanted
        of_kind = LISTED & FINAL if self.final else LISTED - FINAL
        return of_kind if wanted is None else wanted & of_kind


class StatsQuery(Query):
    """Which messages are counted, and into which groups."""

    from_: Moment | None = Field(
        None, alias="from", description="Created then or later; a day before `to` if left out"
    )
    to: Annotated[Moment | None, not_before("from_")] = Field(
        None, description="Created before; now if left out"
    )
    by: Literal["status", "reason", "origin", "app", "hour", "day"] = Field(
        "status",
        description="What the groups have in common. Hours and days are UTC; a reason is the "
        "`status_reason` of the receipt that made the status",
    )
    app: ShortText | None = Field(
        None, description="Of this app; needs a key with the scope `admin`, which sees all"
    )


class Waiting(Query):
    """How long a lookup waits for a change."""

    wait: Annotated[float, Field(ge=0, le=LONGEST_WAIT), BeforeValidator(_wait)] = Field(
        0.0,
        description="Seconds to hold the response until the status changes, unless it is final; "
        "with `If-None-Match`, only as long as the message is the one you know",
    )


class LookupRequest(BaseModel):
    """Ids of messages: ours and iovox's, mixed as you like."""

    model_config = ConfigDict(extra="forbid")

    ids: list[StrictStr] = Field(max_length=MOST_IDS)
