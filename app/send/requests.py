"""What an app may ask for. The caller is one of our own apps: known, but it makes mistakes.

Every field is checked and every fault named at once; where iovox has words for a fault, they are
iovox's. Phone numbers come out as E.164 digits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

import phonenumbers
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
)

from app.errors import FieldError, Invalid
from app.iovox.xml import forbidden_characters
from app.model.message import Request
from app.query import rfc3339

LONGEST_MESSAGE = 160
LONGEST_NAME = 255
"""Of a reference, and of a link id."""
LONGEST_DIGITS = 15
"""Of an E.164 number."""
LONGEST_WRITTEN = 25
"""Of one with zeros that are not dialled from abroad."""
LARGEST_EXPIRY = 2**31 - 1
"""iovox says INT, in minutes."""
NUMBERS_REMEMBERED = 10_000
"""Who is texted today is often texted again, and a number takes longer to read than all the rest
of a request."""

_ALPHANUMERIC_ORIGIN = re.compile(r"[A-Za-z0-9 .]{1,11}")
_DIGITS = re.compile(r"[0-9]+")
_NUMERIC = re.compile(r"\+?[0-9]+")
_PUNCTUATION = re.compile(r"[\s().\-\u2010-\u2015]+")


def _origin(value: str) -> str:
    """iovox's rule, read so that its own 12-digit example passes: 11 binds letters, not digits."""
    if not value.strip():
        raise ValueError("Origin Empty")
    if _NUMERIC.fullmatch(value):
        digits = value.removeprefix("+")
        if digits == value:
            digits = digits.removeprefix("00")
        if 1 <= len(digits) <= LONGEST_DIGITS:
            return digits
    elif _ALPHANUMERIC_ORIGIN.fullmatch(value):
        return value
    raise ValueError(f"Origin Invalid: {value}")


def _destination(value: str) -> str:
    if not value.strip():
        raise ValueError("Destination Empty")
    compact = _PUNCTUATION.sub("", value)
    digits = compact.removeprefix("+") if compact.startswith("+") else compact.removeprefix("00")
    is_number = len(digits) <= LONGEST_WRITTEN and _DIGITS.fullmatch(digits)
    if is_number and not digits.startswith("0") and (e164 := _e164(digits)):
        return e164
    raise ValueError(
        f"Destination Invalid: {value} (write it in international form, such as +447700900123)"
    )


@lru_cache(maxsize=NUMBERS_REMEMBERED)
def _e164(digits: str) -> str | None:
    """The number's E.164 digits, which may be fewer; None where there is no such number."""
    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return e164.removeprefix("+")


def _message(value: str) -> str:
    if not value:
        raise ValueError("Message Empty")
    if len(value) > LONGEST_MESSAGE:
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
    StrictStr, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_sendable)
]


class SendRequest(BaseModel):
    """One message to send."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "origin": "447923221231",
                    "destination": "447723443321",
                    "message": "Hello there, my name is John",
                    "expiry": 3,
                    "reference": "order-42",
                }
            ]
        },
    )

    origin: Annotated[Text, AfterValidator(_origin)] = Field(
        description="E.164 digits (at most 15), or up to 11 letters, digits, spaces and full stops"
    )
    destination: Annotated[Text, AfterValidator(_destination)] = Field(
        description="A phone number in international form; + or 00, spaces, dashes, dots and "
        "parentheses are taken out"
    )
    message: Annotated[Text, AfterValidator(_message)] = Field(
        description="The text, at most 160 characters"
    )
    expiry: Annotated[StrictInt, Field(ge=1, le=LARGEST_EXPIRY)] | None = Field(
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


def check(fields: object, *, now: datetime, horizon: timedelta) -> Request:
    """The request that these JSON fields make. Raises Invalid, which names every fault."""
    if not isinstance(fields, Mapping):
        raise Invalid(
            "The message is not a JSON object", errors=(FieldError("body", "must be an object"),)
        )
    faults: list[FieldError] = []
    sent = None
    try:
        sent = SendRequest.model_validate(fields)
    except ValidationError as error:
        faults += field_errors(error.errors(include_url=False, include_input=False))
    faults += _schedule_faults(fields.get("send_at"), now, horizon)
    if faults or sent is None:
        raise Invalid("The message was not sent; nothing is stored", errors=tuple(faults))
    return Request(
        origin=sent.origin,
        destination=sent.destination,
        text=sent.message,
        expiry=sent.expiry,
        c2c_failover_link_id=sent.c2c_failover_link_id,
        reference=sent.reference,
        send_at=sent.send_at,
    )


def _schedule_faults(value: object, now: datetime, horizon: timedelta) -> list[FieldError]:
    if value is None:
        return []
    try:
        send_at = _utc(value)
    except ValueError:
        return []  # named by the field's own check already
    if send_at <= now:
        return [FieldError("send_at", "lies in the past")]
    if send_at > now + horizon:
        return [FieldError("send_at", f"lies more than {_in_words(horizon)} ahead")]
    return []


def _in_words(span: timedelta) -> str:
    return f"{span.days} days" if span >= timedelta(days=2) else f"{span.total_seconds():g} s"


_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of this request",
    "string_type": "must be text",
    "string_unicode": "has characters that cannot be sent",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}


def field_errors(found: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    """Pydantic's findings in our words, each with the field's path."""
    return [
        FieldError(".".join(str(part) for part in fault["loc"]) or "body", _words(fault))
        for fault in found
    ]


def _words(fault: Mapping[str, Any]) -> str:
    words = _WORDS.get(fault["type"])
    if words is None:
        return str(fault["msg"]).removeprefix("Value error, ")
    return words.format_map(fault.get("ctx", {}))
