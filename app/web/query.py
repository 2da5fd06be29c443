"""Query parameters: the base model, types and checks. Untrusted input.

An unknown parameter is an error, since a misspelt filter must not return everything. So is an empty
one, and a repeated one unless it is a list.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import Request
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from app.errors import FieldError, Invalid
from app.model.london import end_of, midnight
from app.web.faults import quoted

MAX_PAGE_SIZE = 500
MAX_TEXT_LENGTH = 255
MAX_PARAMETERS = 100

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_LOST_PLUS = re.compile(r" (?=\d\d:\d\d$)", re.ASCII)
_WHOLE = re.compile(r"\d{1,6}", re.ASCII)


class Query(BaseModel):
    """The base of every route's query model. All fields have defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _require_text(cls, value: Any) -> Any:
        for text in value if isinstance(value, list) else [value]:
            if text == "":
                raise ValueError("is empty")
            if isinstance(text, str) and ("\x00" in text or "\ufffd" in text):
                raise ValueError("has characters that no text can hold")
        return value


def check_parameters(request: Request, *, is_read: bool, repeatable: frozenset[str]) -> None:
    """Refuse repeated parameters, and all parameters of a route without a query model.

    Query models cannot check these. Raises Invalid.
    """
    count = request.scope["query_string"].count(b"&") + 1
    if count > MAX_PARAMETERS:  # before they are parsed
        raise Invalid(f"There are {count} parameters; at most {MAX_PARAMETERS} are read")
    items = request.query_params.multi_items()
    if not is_read:
        faults = [
            FieldError(quoted(name), "is not a parameter here; there are none") for name, _ in items
        ]
    else:
        counts = Counter(name for name, _ in items)
        faults = [
            FieldError(quoted(name), "is given more than once")
            for name, count in counts.items()
            if count > 1 and name not in repeatable
        ]
    if faults:
        raise Invalid("Some parameters are at fault", errors=tuple(faults))


def repeatable_names(models: Iterable[Any]) -> frozenset[str]:
    """The parameters of query models that are lists and may be repeated."""
    return frozenset(
        name
        for model in models
        for name, schema in model.model_json_schema()["properties"].items()
        if schema.get("type") == "array"
    )


def rfc3339(text: str) -> datetime:
    """Parse an RFC 3339 time to UTC. Raises ValueError."""
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


def _moment(value: object) -> datetime:
    """Parse a time whose unescaped + in the offset has been decoded as a space, too."""
    if not isinstance(value, str):
        raise ValueError("must be a time such as 2026-11-22T09:00:00Z")  # noqa: TRY004  pydantic's
    return rfc3339(_LOST_PLUS.sub("+", value))


def _or_date(of_date: Callable[[date], datetime]) -> BeforeValidator:
    """A time, or a date."""

    def read(value: object) -> datetime:
        if isinstance(value, str) and _DATE.fullmatch(value):
            try:
                return of_date(date.fromisoformat(value))
            except (ValueError, OverflowError):
                raise ValueError("is no time that exists") from None
        if isinstance(value, str) and _TIME.fullmatch(_LOST_PLUS.sub("+", value)):
            return _moment(value)
        raise ValueError(
            "must be an RFC 3339 time, such as 2026-11-22T09:00:00Z, or a date, such as "
            "2026-11-22, which is London's"
        )

    return BeforeValidator(read, json_schema_input_type=datetime | date)


def whole_number(maximum: int) -> BeforeValidator:
    """An integer from 1 to ``maximum``, written in digits only."""

    def read(text: object) -> int:
        if not (isinstance(text, str) and _WHOLE.fullmatch(text) and 1 <= int(text) <= maximum):
            raise ValueError(f"must be a whole number from 1 to {maximum}")
        return int(text)

    return BeforeValidator(read)


def _boolean(text: object) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


Moment = Annotated[datetime, BeforeValidator(_moment)]
Since = Annotated[datetime, _or_date(midnight)]
Until = Annotated[datetime, _or_date(end_of)]
"""The ends of a range in a filter: a date is London's, from its midnight and until its end."""
Boolean = Annotated[bool, BeforeValidator(_boolean)]
PageSize = Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE), whole_number(MAX_PAGE_SIZE)]
ShortText = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_LENGTH)]


def not_before(start: str) -> AfterValidator:
    """The end of a range: not before the field ``start``, which has to be declared above it."""

    def check(value: datetime | None, info: ValidationInfo) -> datetime | None:
        first = info.data.get(start)
        if value is not None and first is not None and value < first:
            raise ValueError(f"lies before {start.removesuffix('_')}")
        return value

    return AfterValidator(check)
