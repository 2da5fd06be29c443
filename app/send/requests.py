"""Request bodies of the routes that send. The caller is authenticated, but it makes mistakes.

Every field is checked and all faults are named at once, in iovox's words where it has any. Phone
numbers are normalised to E.164 digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SkipValidation,
    StrictInt,
    StrictStr,
    ValidationError,
)

from app.errors import FieldError, Invalid
from app.iovox.xml import forbidden_characters
from app.model.message import Request
from app.web.faults import faults_of
from app.web.numbers import AsDestination, AsOrigin
from app.web.query import rfc3339
from app.web.strict_json import require_distinct, without_surplus

MAX_BATCH_SIZE = 1_000
MAX_MESSAGE_LENGTH = 160
MAX_NAME_LENGTH = 255
"""Of a reference, and of a link id."""
MAX_EXPIRY = 2**31 - 1
"""iovox says INT, in minutes."""


def _message(value: str) -> str:
    if not value:
        raise ValueError("Message Empty")
    if len(value) > MAX_MESSAGE_LENGTH:
        raise ValueError(
            f"Message must be less than 160 characters long (this one has {len(value)})"
        )
    return value


def _sendable(value: str) -> str:
    forbidden = forbidden_characters(value)
    if forbidden:
        raise ValueError(f"has characters that cannot be sent: {', '.join(forbidden)}")
    return value


def _utc(value: object) -> datetime:
    return rfc3339(value if isinstance(value, str) else "")


Text = Annotated[StrictStr, AfterValidator(_sendable)]
ShortText = Annotated[
    StrictStr, Field(min_length=1, max_length=MAX_NAME_LENGTH), AfterValidator(_sendable)
]


_EXAMPLE: dict[str, JsonValue] = {
    "origin": "447923221231",
    "destination": "447723443321",
    "message": "Hello there, my name is John",
    "expiry": 3,
    "reference": "order-42",
}


class SendRequest(BaseModel):
    """One message to send."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    origin: Annotated[Text, AsOrigin] = Field(
        description="E.164 digits (at most 15), or up to 11 letters, digits, spaces and full stops"
    )
    destination: Annotated[Text, AsDestination] = Field(
        description="A phone number in international form, however it is punctuated; where the "
        "service has a default region, also that country's national form"
    )
    # Its length is checked by ``_message`` first, whose errors are in iovox's words.
    message: Annotated[
        Text, AfterValidator(_message), Field(min_length=1, max_length=MAX_MESSAGE_LENGTH)
    ] = Field(description="The text")
    expiry: Annotated[StrictInt, Field(ge=1, le=MAX_EXPIRY)] | None = Field(
        None, description="Minutes after which iovox gives up"
    )
    c2c_failover_link_id: ShortText | None = Field(
        None, description="iovox calls through this link when the SMS ends FAILED or EXPIRED"
    )
    reference: ShortText | None = Field(
        None, description="Your own name for it; you can search by it"
    )
    send_at: Annotated[datetime, BeforeValidator(_utc)] | None = Field(
        None, description="When to send it, with an offset; at once if left out"
    )

    def request(self) -> Request:
        """The request as a value of ``app.model``."""
        return Request(
            origin=self.origin,
            destination=self.destination,
            text=self.message,
            expiry=self.expiry,
            c2c_failover_link_id=self.c2c_failover_link_id,
            reference=self.reference,
            send_at=self.send_at,
        )


class BatchRequest(BaseModel):
    """Up to 1,000 messages. One that is at fault is refused by itself, named by its index."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"messages": [_EXAMPLE]}]}
    )

    # Validated later, one by one (``read_message``): an invalid message must not fail the others,
    # and validating a thousand without yielding to the event loop would delay receipts.
    messages: list[SkipValidation[SendRequest]] = Field(min_length=1, max_length=MAX_BATCH_SIZE)


class ResendRequest(BaseModel):
    """Nothing: a resend repeats the message as it was."""

    model_config = ConfigDict(extra="forbid")


def read_message(fields: object, *, now: datetime, horizon: timedelta) -> Request:
    """Validate one message of a batch. Raises Invalid, which names its faults."""
    require_distinct(fields)
    fields, left_out = without_surplus(fields, SendRequest.model_fields)
    try:
        request = SendRequest.model_validate(fields).request()
    except ValidationError as error:
        faults = faults_of(error.errors(include_url=False, include_input=False))
        faults += unread_schedule_faults(fields, now=now, horizon=horizon)
        raise Invalid(
            "The message was not sent; nothing is stored", errors=faults, errors_left_out=left_out
        ) from None
    require_schedule(request, now=now, horizon=horizon)
    return request


def require_schedule(request: Request, *, now: datetime, horizon: timedelta) -> None:
    """Raises Invalid for a ``send_at`` in the past, or further ahead than ``horizon``."""
    if faults := _schedule_faults(request.send_at, now, horizon):
        raise Invalid("The message was not sent; nothing is stored", errors=faults)


def unread_schedule_faults(
    fields: object, *, now: datetime, horizon: timedelta
) -> tuple[FieldError, ...]:
    """The same fault of a message that is invalid anyway, so that all faults are named at once.

    A ``send_at`` that is no time is left to the model, which names it.
    """
    value = fields.get("send_at") if isinstance(fields, Mapping) else None
    try:
        send_at = None if value is None else _utc(value)
    except ValueError:
        return ()
    return _schedule_faults(send_at, now, horizon)


def _schedule_faults(
    send_at: datetime | None, now: datetime, horizon: timedelta
) -> tuple[FieldError, ...]:
    if send_at is None:
        return ()
    if send_at <= now:
        return (FieldError("send_at", "lies in the past"),)
    if send_at > now + horizon:
        return (FieldError("send_at", f"lies more than {_format_span(horizon)} ahead"),)
    return ()


def _format_span(span: timedelta) -> str:
    return f"{span.days} days" if span >= timedelta(days=2) else f"{span.total_seconds():g} s"
