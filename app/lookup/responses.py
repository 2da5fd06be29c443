"""What became of messages, as it is answered: models that the routes and the document share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.json_schema import SkipJsonSchema

from app.errors import FieldError
from app.model.london import TimeQuality
from app.model.status import Status

FAILOVER_AFTER = (Status.FAILED, Status.EXPIRED)
"""The statuses after which iovox calls through a message's call flow, as it documents."""

_EXAMPLE: dict[str, JsonValue] = {
    "id": "0193e0c4-6d2f-7c3a-9b1e-5f0a4c7d8e21",
    "app": "billing",
    "reference": "order-42",
    "origin": "447923221231",
    "destination": "447723443321",
    "message": "Hello there, my name is John",
    "expiry": 3,
    "c2c_failover_link_id": "123456",
    "failover": {"link_id": "123456", "after": [*FAILOVER_AFTER], "called": False},
    "created_at": "2020-05-06T17:37:36.120432Z",
    "send_at": "2020-05-06T17:37:36Z",
    "expires_at": "2020-05-06T17:40:36.120432Z",
    "resend_of": "0193e0c4-0c1b-7a44-8f0e-2b1f6c9d5a10",
    "sms_activity_id": "d454cfe0-a835-11e6-9852-d43d7ed6ce4c",
    "status": "DELIVERED",
    "status_at": "2020-05-06T17:37:46Z",
    "final": True,
    "contradictory": False,
    "overdue": False,
    "submitted_at": "2020-05-06T17:37:36.498211Z",
    "resent_as": [],
    "errors": [],
}
_HISTORY: list[JsonValue] = [
    {"status": "SUBMITTED", "at": "2020-05-06T17:37:36.498211Z", "source": "service"},
    {
        "status": "DELIVERED",
        "at": "2020-05-06T17:37:46Z",
        "source": "iovox",
        "delivery_status": "delivery success",
        "status_reason": "1",
        "receipt_timestamp": "2020-05-06 18:37:46",
        "time_quality": "exact",
        "received_at": "2020-05-06T17:37:46.881502Z",
        "times_seen": 1,
    },
]


class Failover(BaseModel):
    """A call flow of iovox's. That it was called is our reading of its documentation, which calls
    once the text has FAILED or EXPIRED: no receipt says so.
    """

    link_id: str = Field(description="The call flow")
    after: tuple[Status, ...] = Field(description="The statuses that it is called after")
    called: bool = Field(description="The status is one of those")


class MessageSummary(BaseModel):
    """A message without its history. What is known from receipts alone has no id and no request."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    id: UUID | None = Field(description="Ours; null for what is known only from receipts")
    app: str | None = Field(description="Whose it is")
    reference: str | None = Field(description="The app's own name for it")
    origin: str | None = Field(description="The sender that is shown")
    destination: str | None = Field(description="E.164 digits")
    message: str | None = Field(description="The text")
    expiry: int | None = Field(description="Minutes")
    c2c_failover_link_id: str | None = Field(description="iovox's call flow for a text that fails")
    failover: Failover | None = Field(description="What becomes of that call flow")
    created_at: datetime | None = Field(description="When it was asked for")
    send_at: datetime | None = Field(description="When it is to be sent, if not at once")
    expires_at: datetime | None = Field(description="When its expiry has passed")
    resend_of: UUID | None = Field(description="The message that it repeats")
    sms_activity_id: str | None = Field(description="iovox's id; null as long as none is known")
    status: Status = Field(description="See the description of the API")
    status_at: datetime | None = Field(description="Since when")
    final: bool = Field(description="Nothing more is expected")
    contradictory: bool = Field(description="Receipts say that it arrived and that it did not")
    overdue: bool = Field(description="It should have ended by now: our reading")
    submitted_at: datetime | None = Field(description="When iovox accepted it")
    resent_as: list[UUID]
    errors: list[FieldError] = Field(description="Of a refusal")


class Step(BaseModel):
    """Something that we did."""

    status: Status = Field(description="What it became")
    at: datetime = Field(description="When")
    source: Literal["service"] = "service"
    reasons: list[str] | SkipJsonSchema[None] = None


class Receipt(BaseModel):
    """Something that iovox told us."""

    status: str = Field(description="As iovox has it, upper-cased")
    at: datetime = Field(description="When, by iovox's clock")
    source: Literal["iovox"] = "iovox"
    delivery_status: str | None = Field(description="The raw receipt's text")
    status_reason: str | None = Field(description="The raw receipt's number")
    receipt_timestamp: str | None = Field(description="London time, as it came")
    time_quality: TimeQuality = Field(description="How sure `at` is")
    received_at: datetime = Field(description="When it reached us")
    times_seen: int = Field(ge=1)


class Message(MessageSummary):
    """A message and everything that is known to have happened to it."""

    model_config = ConfigDict(json_schema_extra={"example": {**_EXAMPLE, "history": _HISTORY}})

    history: list[Annotated[Step | Receipt, Field(discriminator="source")]] = Field(
        description="Our own steps first, then the receipts in the order of their times"
    )


class MessagePage(BaseModel):
    """Messages, newest first."""

    messages: list[MessageSummary]
    next: str | None = Field(
        description="The cursor of what is older; null at the end. A page can be short before it"
    )


class FoundMessages(BaseModel):
    """Each message once, in the order in which its ids were asked for."""

    messages: list[Message]
    not_found: list[str]


class SecondsToDelivery(BaseModel):
    """Percentiles of whole seconds from submission to DELIVERED: iovox's times are no finer."""

    p50: int | None
    p90: int | None
    p99: int | None


class Figures(BaseModel):
    """Counts of some messages."""

    messages: int
    statuses: dict[str, int]
    delivery_rate: float | None = Field(
        description="DELIVERED of DELIVERED, FAILED and EXPIRED; null before the first of them"
    )
    seconds_to_delivery: SecondsToDelivery


class StatsGroup(Figures):
    """Counts of the messages that have something in common."""

    key: str | None = Field(description="What they have in common; null where there is none")


class Stats(Figures):
    """Counts of the messages of a range of time."""

    from_: datetime = Field(serialization_alias="from", description="Created then or later")
    to: datetime = Field(description="Created before")
    by: str = Field(description="What the groups have in common")
    groups: list[StatsGroup]
    groups_left_out: int = Field(description="Of the smallest")
