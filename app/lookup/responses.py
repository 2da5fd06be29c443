"""The models of lookup responses, for the routes and the OpenAPI document."""

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
"""The statuses after which iovox calls the call flow of a message, as it documents."""

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
    "status_reason": "1",
    "reason": "delivery success",
    "final": True,
    "contradictory": False,
    "overdue": False,
    "submitted_at": "2020-05-06T17:37:36.498211Z",
    "resent_as": [],
    "errors": [],
    "webhooks": {"delivered": 1, "pending": 0, "failed": 0},
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
    """The call flow of a message. `called` is derived from the status, as iovox documents
    it: once the text has FAILED or EXPIRED. There is no receipt of the call.
    """

    link_id: str = Field(description="The call flow")
    after: tuple[Status, ...] = Field(description="The statuses that it is called after")
    called: bool = Field(description="The status is one of those")


class DeliveryCounts(BaseModel):
    """How many deliveries of a message's events to webhooks there were; those that ended are kept
    for a time only.
    """

    delivered: int = Field(description="The receiver took them")
    pending: int = Field(description="They are tried, again where need be")
    failed: int = Field(description="Given up, or the webhook has ended")


class MessageSummary(BaseModel):
    """A message without its history. One known only from receipts has neither id nor request."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    id: UUID | None = Field(description="Our id; null for a message known only from receipts")
    app: str | None = Field(description="The app that sent it")
    reference: str | None = Field(description="The app's own name for it")
    origin: str | None = Field(description="The sender shown on the handset")
    destination: str | None = Field(description="E.164 digits; null once it is erased")
    message: str | None = Field(
        description="The text; null for `support` without `reveal=text`, and once it is not kept"
    )
    expiry: int | None = Field(description="Minutes")
    c2c_failover_link_id: str | None = Field(description="iovox's call flow for a text that fails")
    failover: Failover | None = Field(description="The state of that call flow")
    created_at: datetime | None = Field(description="When the request was received")
    send_at: datetime | None = Field(description="When it is to be sent, if not at once")
    expires_at: datetime | None = Field(description="The end of its expiry")
    resend_of: UUID | None = Field(description="The message that it resends")
    erased_at: datetime | None = Field(
        None,  # always there, and null in the example, which has no room for nulls
        description="When its number, text and reference were erased; null if they were not",
    )
    sms_activity_id: str | None = Field(description="iovox's id; null until it is known")
    status: Status = Field(description="See the description of the API")
    status_at: datetime | None = Field(description="When the status was reached")
    status_reason: str | None = Field(
        description="iovox's reason for the status, a number as text; null before its first receipt"
    )
    reason: str | None = Field(
        description="Why it has its status, in words: iovox's `delivery_status`, or our own"
    )
    final: bool = Field(description="Whether the status is final")
    contradictory: bool = Field(description="There are receipts for success and for failure")
    overdue: bool = Field(description="The final status is late: our own judgement")
    submitted_at: datetime | None = Field(description="When iovox accepted it")
    resent_as: list[UUID]
    errors: list[FieldError] = Field(description="The reasons of a refusal")
    webhooks: DeliveryCounts = Field(description="Deliveries of its events to webhooks")


class Step(BaseModel):
    """A step of ours."""

    status: Status = Field(description="The status after it")
    at: datetime = Field(description="When")
    source: Literal["service"] = "service"
    reasons: list[str] | SkipJsonSchema[None] = None


class Receipt(BaseModel):
    """A delivery receipt of iovox's."""

    status: str = Field(description="iovox's status, upper-cased")
    at: datetime = Field(description="When, by iovox's clock")
    source: Literal["iovox"] = "iovox"
    delivery_status: str | None = Field(description="As received")
    status_reason: str | None = Field(description="As received")
    receipt_timestamp: str | None = Field(description="London time, as received")
    time_quality: TimeQuality = Field(description="How reliable `at` is")
    received_at: datetime = Field(description="When it reached us")
    times_seen: int = Field(ge=1)


class Message(MessageSummary):
    """A message with its history."""

    model_config = ConfigDict(json_schema_extra={"example": {**_EXAMPLE, "history": _HISTORY}})

    history: list[Annotated[Step | Receipt, Field(discriminator="source")]] = Field(
        description="Our own steps first, then the receipts in the order of their times"
    )


class UnmatchedId(BaseModel):
    """An id of iovox's that no message of ours has, with all that its receipts say."""

    sms_activity_id: str
    status: Status = Field(description="UNKNOWN where no receipt has a status that we know")
    status_at: datetime | None = Field(description="When the status was reached")
    final: bool
    contradictory: bool = Field(description="There are receipts for success and for failure")
    received_at: datetime = Field(description="When its first receipt reached us")
    receipts: list[Receipt] = Field(description="In the order of their times")


class UnmatchedPage(BaseModel):
    """Ids known from receipts alone, newest first."""

    unmatched: list[UnmatchedId]
    next: str | None = Field(description="Hand it in as `cursor`; null on the last page")


class MessagePage(BaseModel):
    """Messages, newest first."""

    messages: list[MessageSummary]
    next: str | None = Field(
        description="The cursor of the next page; null on the last. Any page may be short"
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
    """Counts of messages."""

    messages: int
    statuses: dict[str, int]
    delivery_rate: float | None = Field(
        description="DELIVERED / (DELIVERED + FAILED + EXPIRED); null if there are none"
    )
    seconds_to_delivery: SecondsToDelivery


class StatsGroup(Figures):
    """Counts of the messages of one group."""

    key: str | None = Field(
        description="The value that the group shares; null for messages without one"
    )


class Stats(Figures):
    """Counts of the messages created in a time range."""

    from_: datetime = Field(serialization_alias="from", description="Created then or later")
    to: datetime = Field(description="Created before")
    by: str = Field(description="The property that groups share")
    groups: list[StatsGroup]
    groups_left_out: int = Field(description="Number of the smallest groups, which are left out")
