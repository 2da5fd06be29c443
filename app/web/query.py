"""Query parameters: the base model, types and checks. Untrusted input.

An unknown parameter is an error, since a misspelt filter must not return everything. So is an empty
one, and a repeated one unless it is a list.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import cache
from typing import Annotated, Any

from fastapi import Request
from fastapi.datastructures import QueryParams
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from app.errors import FieldError, Invalid
from app.model.london import end_of, midnight
from app.web.faults import quoted, request_faults_of

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


def check_parameters(request: Request, models: Sequence[type[BaseModel]]) -> None:
    """Refuse unknown and repeated parameters, which query models cannot check or name as well.

    ``models`` are those of the route. All other faults are named with them. Raises Invalid.
    """
    count = request.scope["query_string"].count(b"&") + 1
    if count > MAX_PARAMETERS:  # before they are parsed
        raise Invalid(f"There are {count} parameters; at most {MAX_PARAMETERS} are read")
    params = request.query_params
    offered = parameter_schemas(models)
    faults: dict[str, FieldError] = {}
    for name, times in Counter(name for name, _ in params.multi_items()).items():
        if name not in offered:
            names = f"there are: {', '.join(offered)}" if offered else "there are none"
            faults[name] = FieldError(quoted(name), f"is not a parameter here; {names}")
        elif times > 1 and offered[name].get("type") != "array":
            faults[name] = FieldError(quoted(name), "is given more than once")
    if faults:
        others = _faults_of_others(params, models, faults)
        raise Invalid("Some parameters are at fault", errors=(*faults.values(), *others))


def _faults_of_others(
    params: QueryParams, models: Iterable[type[BaseModel]], faulty: Collection[str]
) -> Iterator[FieldError]:
    """The faults of all parameters but those in ``faulty``."""
    for model in models:
        values = {
            name: params.getlist(name) if schema.get("type") == "array" else params[name]
            for name, schema in parameter_schemas([model]).items()
            if name in params and name not in faulty
        }
        try:
            model.model_validate(values)
        except ValidationError as error:
            yield from request_faults_of(
                {**fault, "loc": ("query", *fault["loc"])} for fault in error.errors()
            )


def parameter_schemas(models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """The JSON schemas of query models' parameters by name; a list may be repeated."""
    return {name: schema for model in models for name, schema in _properties(model).items()}


@cache
def _properties(model: type[BaseModel]) -> dict[str, Any]:
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    return properties


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


def _timestamp(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be a time such as 2026-11-22T09:00:00Z")  # noqa: TRY004  pydantic's
    return rfc3339(value)


def _or_date(of_date: Callable[[date], datetime]) -> BeforeValidator:
    """A time, or a date."""

    def read(value: object) -> datetime:
        if isinstance(value, str) and _DATE.fullmatch(value):
            try:
                return of_date(date.fromisoformat(value))
            except (ValueError, OverflowError):
                raise ValueError("is no time that exists") from None
        if isinstance(value, str) and _TIME.fullmatch(_LOST_PLUS.sub("+", value)):
            return rfc3339(_LOST_PLUS.sub("+", value))
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


Timestamp = Annotated[datetime, BeforeValidator(_timestamp)]
"""A time in a body."""
Since = Annotated[datetime, _or_date(midnight)]
Until = Annotated[datetime, _or_date(end_of)]
"""The ends of a range in a filter: a date is London's, from its midnight and until its end."""
Boolean = Annotated[bool, BeforeValidator(_boolean)]
PageSize = Annotated[int, Field(ge=1, le=MAX_PAGE_SIZE), whole_number(MAX_PAGE_SIZE)]
ShortText = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_LENGTH)]


def not_before(start: str) -> WrapValidator:
    """The end of a range: not before the field ``start``, which has to be declared above it.

    An end that is a date includes its day, so it reads as the midnight after it; a range that only
    begins there is reversed, although its two times are the same.
    """

    def check(
        value: object, read: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> datetime | None:
        end: datetime | None = read(value)
        first: datetime | None = info.data.get(start)
        if end is not None and first is not None:
            is_date = isinstance(value, str) and _DATE.fullmatch(value) is not None
            if end < first or (is_date and end == first):
                raise ValueError(f"lies before {start.removesuffix('_')}")
        return end

    return WrapValidator(check)
