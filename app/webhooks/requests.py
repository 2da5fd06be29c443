"""The bodies and parameters of webhook requests. Untrusted input: all faults are named at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from app.model.event import EVENT_STATUSES, parse_names
from app.model.status import FINAL
from app.model.webhook import KINDS, DeliveryState, Replay
from app.web.events import EventNumber
from app.web.query import PageSize, Query, Timestamp, not_before

PAGE = 100
LONGEST_APP = 100
BY_DEFAULT: list[str] = [status for status in EVENT_STATUSES if status in FINAL]
"""The statuses that a webhook gets unless it asks for others: the final ones."""

_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# For the document: URLs that are accepted. Public IP addresses in place of names are, too.
_URL_PATTERN = (
    rf"^https://({_LABEL}\.)+[A-Za-z]{{2,24}}(:[1-9][0-9]{{0,3}})?([/?][!$&-;=?-Z_a-z~]*)?$"
)


def _app(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("must be an app's name, as its keys were created with")
    return value


def _delivery(text: object) -> UUID:
    try:
        found = UUID(str(text))
    except ValueError:
        raise ValueError("is not one that this service gave") from None
    if str(found) != str(text).lower():
        raise ValueError("is not one that this service gave")
    return found


def _kinds(values: object) -> object:
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return parse_names(values, KINDS)
    return values


def _kind(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")  # noqa: TRY004  pydantic's
    return parse_names([value], KINDS)[0]


Url = Annotated[StrictStr, Field(json_schema_extra={"pattern": _URL_PATTERN})]
App = Annotated[StrictStr, Field(min_length=1, max_length=LONGEST_APP), AfterValidator(_app)]
if TYPE_CHECKING:  # computed, which type checkers cannot evaluate
    Kind = str
else:
    Kind = Literal[KINDS]
Statuses = Annotated[
    list[Annotated[Kind, BeforeValidator(_kind)]], BeforeValidator(_kinds), Field(min_length=1)
]
"""What a webhook gets, in upper or lower case; also several in one value, separated by commas."""


def _schema(**members: Any) -> Callable[[dict[str, Any]], None]:
    """A hook for a model's JSON schema: adds ``members``, and lets no property be null."""

    def amend(schema: dict[str, Any]) -> None:
        schema.update(members)
        for field in schema["properties"].values():
            for option in field.pop("anyOf", []):
                field.update(option if option.get("type") != "null" else {})
            if field.get("default", ...) is None:
                del field["default"]

    return amend


class _Change(BaseModel):
    """Fields are given or left out. Null is refused: it could mean to keep or to clear a value."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _require_value(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("must not be null; leave it out")
        return value


class NewWebhook(_Change):
    """A subscription to be made."""

    model_config = ConfigDict(
        json_schema_extra=_schema(examples=[{"url": "https://billing.example.com/sms-events"}])
    )

    url: Url
    statuses: Statuses = BY_DEFAULT
    app: App | None = Field(None, description="For admins: whose events; without it, every app's")


class WebhookChange(_Change):
    """What is to be different; what is not named stays."""

    model_config = ConfigDict(json_schema_extra=_schema(examples=[{"paused": True}]))

    url: Url | None = None
    statuses: Statuses | None = None
    paused: StrictBool | None = None


class ReplayRequest(_Change):
    """Which deliveries are sent again: of events after one and until another, recorded from a time
    on and before another, and by what became of them. At least one of these is named.
    """

    model_config = ConfigDict(
        json_schema_extra=_schema(
            examples=[{"from": "2026-11-22T09:00:00Z", "to": "2026-11-22T10:00:00Z"}],
            minProperties=1,
        )
    )

    after: EventNumber | None = None
    until: EventNumber | None = None
    from_: Timestamp | None = Field(None, alias="from")
    to: Annotated[Timestamp | None, not_before("from_")] = None
    state: DeliveryState | None = None

    @field_validator("until")
    @classmethod
    def _check_order(cls, until: int | None, info: ValidationInfo) -> int | None:
        after = info.data.get("after")
        if until is not None and after is not None and until < after:
            raise ValueError("lies before `after`")
        return until

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name at least one of: after, until, from, to, state")
        return self

    def bounds(self) -> Replay:
        """The same for the store."""
        return Replay(self.after, self.until, self.from_, self.to, self.state)


class DeliveryQuery(Query):
    """Which deliveries are listed."""

    state: DeliveryState | None = Field(None, description="What became of them")
    cursor: Annotated[UUID, BeforeValidator(_delivery)] | None = Field(
        None, description="`next` of the page before"
    )
    limit: PageSize = Field(PAGE, description="How many at most")
