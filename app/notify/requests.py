"""What an app may ask of its webhooks. Every field is checked, and every fault is named at once."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationError,
)

from app.errors import FieldError, Invalid, NotFound
from app.model.event import event_number
from app.model.status import FINAL
from app.model.webhook import DeliveryState, Replay
from app.notify.filters import SHOWN, read_statuses
from app.query import rfc3339

LONGEST_APP = 100
BY_DEFAULT = tuple(status for status in SHOWN if status in FINAL)
"""What a webhook is told of unless it asks for something else: how messages ended."""


def _statuses(values: list[str]) -> list[str]:
    wanted = read_statuses(values)
    return [status for status in SHOWN if status in wanted]


def _app(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("must be an app's name, as its keys were created with")
    return value


def _moment(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be a time such as 2026-11-22T09:00:00Z")  # noqa: TRY004  pydantic's
    return rfc3339(value)


def _event(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError("must be an event's id")  # noqa: TRY004  pydantic's
    return event_number(value)


_Statuses = Annotated[list[StrictStr], Field(min_length=1), AfterValidator(_statuses)]
_EventNumber = Annotated[int, BeforeValidator(_event)]
_Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]


class NewWebhook(BaseModel):
    """A subscription to be made. ``app`` is for admins: whose events; without it, every app's."""

    model_config = ConfigDict(extra="forbid")

    url: StrictStr
    statuses: _Statuses = Field(default=list(BY_DEFAULT))
    app: Annotated[StrictStr, Field(max_length=LONGEST_APP), AfterValidator(_app)] | None = None


class WebhookChange(BaseModel):
    """What is to be different; what is not named stays."""

    model_config = ConfigDict(extra="forbid")

    url: StrictStr | None = None
    statuses: _Statuses | None = None
    paused: StrictBool | None = None


class ReplayRequest(BaseModel):
    """Which deliveries to send again: by their events' ids, when those were recorded, or state."""

    model_config = ConfigDict(extra="forbid")

    after: _EventNumber | None = None
    until: _EventNumber | None = None
    from_: Annotated[_Moment | None, Field(alias="from")] = None
    to: _Moment | None = None
    state: DeliveryState | None = None

    def bounds(self) -> Replay:
        """The same for the store. Raises Invalid for no bounds, and for bounds the wrong way."""
        if not self.model_fields_set:
            raise _faulty("body", "name at least one of: after, until, from, to, state")
        if self.after is not None and self.until is not None and self.until < self.after:
            raise _faulty("until", "lies before `after`")
        if self.from_ is not None and self.to is not None and self.to < self.from_:
            raise _faulty("to", "lies before `from`")
        return Replay(self.after, self.until, self.from_, self.to, self.state)


Asked = TypeVar("Asked", bound=BaseModel)


def understand(kind: type[Asked], body: object) -> Asked:
    """What the JSON asks for. A field without a value is at fault: is it to be left, or cleared?

    Raises Invalid.
    """
    if not isinstance(body, dict):
        raise _faulty("body", "must be a JSON object")
    if empty := [str(name) for name, value in body.items() if value is None]:
        why = "must not be null; leave it out"
        raise Invalid("Nothing is changed", errors=tuple(FieldError(n[:100], why) for n in empty))
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        raise Invalid("Nothing is changed", errors=tuple(_fault(f) for f in faults)) from None


def read_uuid(text: str, what: str) -> UUID:
    """An id of ours in its canonical form. Raises NotFound."""
    try:
        found = UUID(text)
    except ValueError:
        raise NotFound(f"There is no {what} with this id") from None
    if str(found) != text.lower():
        raise NotFound(f"There is no {what} with this id")
    return found


def _fault(fault: Any) -> FieldError:
    words = "is not a field of this request" if fault["type"] == "extra_forbidden" else fault["msg"]
    where = ".".join(str(part) for part in fault["loc"])
    return FieldError(where[:100], words.removeprefix("Value error, "))


def _faulty(field: str, why: str) -> Invalid:
    return Invalid("Nothing is changed", errors=(FieldError(field, why),))
