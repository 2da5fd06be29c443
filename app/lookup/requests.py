"""The parameters and bodies of lookup requests: filters, cursors, ids. Untrusted input."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictStr,
)

from app.lookup.cursor import CURSOR_PATTERN, read_cursor, read_id_cursor
from app.model.search import MESSAGE_STATUSES
from app.model.status import FINAL, Status
from app.web.faults import quoted
from app.web.numbers import SentFrom, SentTo
from app.web.query import (
    Boolean,
    PageSize,
    Query,
    ShortText,
    Since,
    Until,
    not_before,
)

DEFAULT_PAGE_SIZE = 50
MAX_WAIT = 60
MAX_IDS = 1_000

_NUMBER = re.compile(r"\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


def _statuses(values: object) -> object:
    """Split at commas; the parameter may also be repeated."""
    if not isinstance(values, list):
        return values
    names = [name for value in values for name in str(value).split(",")]
    if Status.UNKNOWN in names:
        raise ValueError(
            "UNKNOWN is no message's status, but that of an id known from receipts alone: "
            "GET /v1/receipts/unmatched lists those"
        )
    if unknown := [name for name in names if name not in MESSAGE_STATUSES]:
        every = ", ".join(sorted(MESSAGE_STATUSES))
        raise ValueError(f"{quoted(unknown[0])!r} is not a status; there are: {every}")
    return names


def _wait(text: object) -> float:
    if not (isinstance(text, str) and _NUMBER.fullmatch(text) and float(text) <= MAX_WAIT):
        raise ValueError(f"must be a number of seconds from 0 to {MAX_WAIT}")
    return float(text)


if TYPE_CHECKING:  # computed, which type checkers cannot evaluate
    ListedStatus = Status
else:
    ListedStatus = Literal[tuple(sorted(MESSAGE_STATUSES))]

Statuses = Annotated[list[ListedStatus], BeforeValidator(_statuses)]
Cursor = Annotated[
    UUID,
    BeforeValidator(
        read_cursor, json_schema_input_type=Annotated[str, Field(pattern=CURSOR_PATTERN)]
    ),
]


class Revealing(Query):
    """What a key with the scope ``support`` may ask to be shown."""

    reveal: Literal["text"] | None = Field(
        None,
        description="`text` shows the messages' texts to a key with the scope `support`, which is "
        "given null otherwise; other keys see them anyway",
    )


class MessageFilters(Revealing):
    """Filters on messages; one that is left out does not restrict."""

    status: Statuses = Field(
        [],
        description="Any of these; separated by commas, or the parameter repeated",
    )
    final: Boolean | None = Field(None, description="Whether the status is final")
    overdue: Boolean | None = Field(
        None, description="Whether the final status is late: our own judgement, not iovox's"
    )
    contradictory: Boolean | None = Field(
        None, description="Whether there are receipts for both success and failure"
    )
    destination: Annotated[ShortText, SentTo] | None = Field(
        None,
        description="However it is written, such as +44 7700 900123: read as that of a send is",
    )
    origin: Annotated[ShortText, SentFrom] | None = Field(None, description="As it was sent")
    reference: ShortText | None = Field(None, description="Your own name for it, exactly")
    app: ShortText | None = Field(
        None,
        description="Of this app; needs a key with the scope `support` or `admin`, which see all",
    )
    from_: Since | None = Field(
        None, alias="from", description="Created then or later; a date is its midnight in London"
    )
    to: Annotated[Until | None, not_before("from_")] = Field(
        None, description="Created before; a date includes its day"
    )
    status_from: Since | None = Field(None, description="Has its status since then or later")
    status_to: Annotated[Until | None, not_before("status_from")] = Field(
        None, description="Has its status since before"
    )
    cursor: Cursor | None = Field(
        None, description="Goes on where a page ended: its `next`, unchanged"
    )
    limit: PageSize | None = Field(
        None, description=f"How many at most: {DEFAULT_PAGE_SIZE} if left out; of an export, all"
    )

    def statuses(self) -> frozenset[Status] | None:
        """The statuses that satisfy ``status`` and ``final``; None if neither is given."""
        wanted = frozenset(self.status) if self.status else None
        if self.final is None:
            return wanted
        of_kind = MESSAGE_STATUSES & FINAL if self.final else MESSAGE_STATUSES - FINAL
        return of_kind if wanted is None else wanted & of_kind


class StatsQuery(Query):
    """The range of messages to count, and the grouping."""

    from_: Since | None = Field(
        None, alias="from", description="Created then or later; a day before `to` if left out"
    )
    to: Annotated[Until | None, not_before("from_")] = Field(
        None, description="Created before; now if left out"
    )
    by: Literal["status", "reason", "origin", "app", "hour", "day"] = Field(
        "status",
        description="The property to group by. Hours are UTC's, days London's: the key is when it "
        "begins. A reason is the `status_reason` of the receipt that determines the status",
    )
    app: ShortText | None = Field(
        None,
        description="Of this app; needs a key with the scope `support` or `admin`, which see all",
    )


class UnmatchedQuery(Query):
    """A page of the ids that are known from receipts alone."""

    cursor: Annotated[str, BeforeValidator(read_id_cursor)] | None = Field(
        None, description="Goes on where a page ended: its `next`, unchanged"
    )
    limit: PageSize = Field(DEFAULT_PAGE_SIZE, description="How many at most")


class WaitQuery(Revealing):
    """Long polling: how long a lookup waits for a change."""

    wait: Annotated[float, Field(ge=0, le=MAX_WAIT), BeforeValidator(_wait)] = Field(
        0.0,
        description="Seconds to hold the response until the status changes, unless it is final; "
        "with `If-None-Match`, only as long as the message is the one you know",
    )


class LookupRequest(BaseModel):
    """Ids of messages, ours and iovox's in any mixture."""

    model_config = ConfigDict(extra="forbid")

    ids: list[StrictStr] = Field(max_length=MAX_IDS)
