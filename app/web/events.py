"""Types of events in requests and responses, shared by the feed and the webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, PlainValidator

from app.model.event import (
    EVENT_STATUSES,
    ID_PATTERN,
    Cursor,
    event_cursor,
    event_id,
    event_number,
    parse_statuses,
)
from app.model.status import Status

EXAMPLE: dict[str, JsonValue] = {
    "id": event_id(674, 0x2F8A91C4),
    "message_id": "0193e0c4-6d2f-7c3a-9b1e-5f0a4c7d8e21",
    "sms_activity_id": "d454cfe0-a835-11e6-9852-d43d7ed6ce4c",
    "reference": "order-42",
    "status": "DELIVERED",
    "contradictory": False,
    "at": "2020-05-06T17:37:46Z",
    "recorded_at": "2020-05-06T17:37:46.881502Z",
}


def _number(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError("must be an event's id")  # noqa: TRY004  pydantic's
    return event_number(value)


def _statuses(values: object) -> object:
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return parse_statuses(values)
    return values


def _status(value: object) -> Status:
    """One status. Pydantic's own message about a wrong one would quote Python's names."""
    if not isinstance(value, str):
        raise ValueError("must be text")  # noqa: TRY004  pydantic's
    return parse_statuses([value])[0]


def _cursor(value: object) -> Cursor:
    if not isinstance(value, str):
        raise ValueError("must be an event's id")  # noqa: TRY004  pydantic's
    return event_cursor(value)


if TYPE_CHECKING:
    _Parsed = Cursor
else:
    _Parsed = object  # in the document it is text
EventCursor = Annotated[
    _Parsed,
    PlainValidator(_cursor, json_schema_input_type=Annotated[str, Field(pattern=ID_PATTERN)]),
]
"""An event's id, parsed."""
EventNumber = Annotated[
    int,
    BeforeValidator(_number, json_schema_input_type=Annotated[str, Field(pattern=ID_PATTERN)]),
]
"""An event's id, parsed to its number."""
if TYPE_CHECKING:  # computed, which type checkers cannot evaluate
    EventStatus = Status
else:
    EventStatus = Literal[EVENT_STATUSES]
EventStatuses = Annotated[
    list[Annotated[EventStatus, BeforeValidator(_status)]], BeforeValidator(_statuses)
]
"""Statuses of events, in any case; also several in one value, separated by commas."""


class Event(BaseModel):
    """A change of a message's status."""

    model_config = ConfigDict(json_schema_extra={"example": EXAMPLE})

    id: str = Field(description="Its position in commit order; opaque")
    message_id: UUID = Field(description="Our id of the message")
    sms_activity_id: str | None = Field(description="iovox's id of the message, if known")
    reference: str | None = Field(description="The app's own id of the message")
    status: EventStatus = Field(description="The new status")
    contradictory: bool = Field(
        description="There were receipts for success and for failure by then. Where the status is "
        "the one before, this is what is new"
    )
    at: datetime = Field(description="When the status was reached")
    recorded_at: datetime = Field(description="When it was committed")
