"""Query and response models of the routes of the audit."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field

from app.model.audit import Action, Entry
from app.web.query import PageSize, Query, ShortText, Since, Until, not_before


def _cursor(text: object) -> UUID:
    try:
        return UUID(str(text))
    except ValueError:
        raise ValueError("is not one that this service gave") from None


def _action(text: object) -> object:
    if str(text) not in set(Action):
        raise ValueError(f"there are: {', '.join(sorted(Action))}")
    return text


class AuditQuery(Query):
    """Which entries are listed; a filter that is left out does not restrict."""

    who: ShortText | None = Field(
        None, description="`key:ID`, `os:user@host`, `person:NAME`, `nobody`, or an app"
    )
    action: Annotated[Action, BeforeValidator(_action)] | None = Field(
        None, description="What was done"
    )
    what: ShortText | None = Field(
        None, description="The id of what it was done to: a message, a webhook, a key, ..."
    )
    from_: Since | None = Field(
        None, alias="from", description="Then or later; a date is its midnight in London"
    )
    to: Annotated[Until | None, not_before("from_")] = Field(
        None, description="Before; a date includes its day"
    )
    cursor: Annotated[UUID, BeforeValidator(_cursor)] | None = Field(
        None, description="Goes on where a page ended: its `next`, unchanged"
    )
    limit: PageSize = Field(100, description="How many at most")


class Audited(BaseModel):
    """Who did what, when and from where."""

    id: UUID
    at: datetime
    who: str = Field(description="`key:ID`, `os:user@host`, `person:NAME` or `nobody`")
    app: str | None = Field(description="The key's")
    address: str | None = Field(description="Where the request came from; null for a command")
    action: Action = Field(description="What was done")
    what: str | None = Field(description="The id of what it was done to")
    destination: str | None = Field(description="The number that was searched for")
    reference: str | None = Field(description="The reference that was searched for")
    details: dict[str, str | int | bool | list[str]]
    times: int = Field(ge=1, description="How many requests this entry stands for")


class AuditPage(BaseModel):
    """Entries, newest first."""

    entries: list[Audited]
    next: str | None = Field(description="Hand it in as `cursor`; null on the last page")


def audited(entry: Entry) -> Audited:
    """An entry as the API shows it."""
    return Audited(
        id=entry.id,
        at=entry.at,
        who=entry.actor.who,
        app=entry.actor.app,
        address=entry.actor.address,
        action=Action(entry.action),
        what=entry.what,
        destination=entry.destination,
        reference=entry.reference,
        details={
            name: value if isinstance(value, str | int) else list(value)
            for name, value in entry.details.items()
        },
        times=entry.times,
    )
