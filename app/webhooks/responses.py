"""Webhooks, their deliveries, and what is delivered, as they are answered and sent."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from pydantic import BaseModel, Field, JsonValue

from app.model import webhook as model
from app.model.alarm import AlarmName
from app.model.webhook import KINDS, MESSAGE_KINDS, DeliveryState, WebhookState
from app.web.events import Event

if TYPE_CHECKING:  # made of a table, which type checkers do not follow
    EventType = str
    Kind = str
else:
    EventType = Literal[tuple(f"message.{kind.lower()}" for kind in MESSAGE_KINDS)]
    Kind = Literal[KINDS]


class Webhook(BaseModel):
    """A subscription to events."""

    id: UUID = Field(description="Ours")
    app: str | None = Field(description="Whose events; null for every app's")
    url: str = Field(description="Where they are delivered")
    statuses: list[Kind] = Field(
        description="The events that it gets. CONTRADICTED: every event of a message whose "
        "receipts contradict each other; DELIVERED includes these. ALARM: alarms, for an admin's "
        "webhook over all apps"
    )
    paused: bool
    state: WebhookState = Field(description="ENDED is for good")
    reason: str | None = Field(description="Why it is not ACTIVE")
    created_at: datetime = Field(description="What happened since then is delivered")
    key_id: str | None = Field(
        description="The API key that made it, as in `dlr keys list`; null where it is not known"
    )
    key_revoked: bool = Field(
        description="That key is revoked, and the webhook still delivers: delete it unless it is "
        "wanted. Where the key is not known: no key that could have made it is valid any more"
    )
    failing_since: datetime | None = Field(description="Since when nothing was taken")
    not_before: datetime | None = Field(description="When its receiver is tried again")
    previous_secret_until: datetime | None = Field(
        description="How long the previous secret signs as well"
    )


class WebhookWithSecret(Webhook):
    """A subscription with its secret, which is shown when it is made, and never again."""

    secret: str = Field(description="`whsec_` and base64")


class WebhookList(BaseModel):
    """Subscriptions, oldest first."""

    webhooks: list[Webhook]


class Attempt(BaseModel):
    """One call of a webhook's receiver."""

    at: datetime = Field(description="When it began")
    took_ms: int = Field(description="How long it took, in milliseconds")
    status_code: int | None = Field(description="Of the response; null where there was none")
    error: str | None = Field(description="What went wrong, or why there was no response")
    response: str | None = Field(
        description="The beginning of the response's body, up to 500 characters; null where it was "
        "empty or compressed, the message's text is no longer kept, or you are no admin"
    )


class Delivery(BaseModel):
    """A payload on its way to a webhook's receiver."""

    id: UUID = Field(description="The header `webhook-id`, however often it is sent")
    type: str = Field(
        description="`message.` and the status, `message.contradicted`, `alarm.began`, "
        "`alarm.ended` or `webhook.test`"
    )
    event_id: str | None = Field(description="The event's; null for a test and an alarm")
    message_id: UUID | None = Field(description="The message's; null for a test and an alarm")
    state: DeliveryState = Field(description="What became of it")
    replays: int = Field(description="How often it was asked for again")
    attempts: int = Field(description="Since it was last asked for")
    created_at: datetime = Field(description="When it was due")
    next_attempt_at: datetime | None = Field(description="While it is PENDING")
    ended_at: datetime | None = Field(description="When it was taken or given up")
    status_code: int | None = Field(description="Of the last response")
    error: str | None = Field(description="What went wrong at last")
    attempt_log: list[Attempt] = Field(
        description="Its last 20 attempts, oldest first, with those before it was asked for again; "
        "without those that were made by a version that did not keep them"
    )
    payload: dict[str, JsonValue] = Field(description="The body that is sent")


class DeliveryPage(BaseModel):
    """Deliveries, newest first."""

    deliveries: list[Delivery]
    next: str | None = Field(description="Hand it in as `cursor`; null at the end")


class Replayed(BaseModel):
    """How much is sent again."""

    replayed: int
    next: str | None = Field(description="Where there are more: hand it in as `after`")


class MessageEvent(BaseModel):
    """What a webhook's receiver is sent: an event, in the form of Standard Webhooks."""

    type: EventType = Field(
        description="The new status; `message.contradicted` where it stays and the message became "
        "contradictory"
    )
    timestamp: datetime = Field(description="When it happened")
    data: Event


class AlarmData(BaseModel):
    """An alarm that has begun or ended."""

    alarm: AlarmName
    detail: str = Field(description="What is the matter, as it was when it began")
    began_at: datetime
    ended_at: datetime | None = Field(description="null when it begins")


class AlarmEvent(BaseModel):
    """What a webhook's receiver is sent when an alarm begins or ends; it is about no message."""

    type: Literal["alarm.began", "alarm.ended"]
    timestamp: datetime = Field(description="When it began or ended")
    data: AlarmData


class TestData(BaseModel):
    """What a test is about."""

    webhook_id: UUID = Field(description="The webhook that is tested")


class TestEvent(BaseModel):
    """What a webhook's receiver is sent as a test; it is about no message."""

    type: Literal["webhook.test"]
    timestamp: datetime = Field(description="When the test was asked for")
    data: TestData


class ErasedMessage(BaseModel):
    """Which message was erased."""

    message_id: UUID
    sms_activity_id: str | None
    erased_at: datetime


class MessageErased(BaseModel):
    """What a webhook's receiver is sent when a message was erased."""

    type: Literal["message.erased"]
    timestamp: datetime = Field(description="When it was erased")
    data: ErasedMessage


def shown(webhook: model.Webhook) -> Webhook:
    """A webhook without its secret."""
    return Webhook.model_validate(_fields(webhook))


def shown_with_secret(webhook: model.Webhook) -> WebhookWithSecret:
    """A webhook that was just made, or whose secret is new."""
    return WebhookWithSecret.model_validate({**_fields(webhook), "secret": webhook.secret})


def _fields(webhook: model.Webhook) -> dict[str, object]:
    return {
        "id": webhook.id,
        "app": webhook.app,
        "url": webhook.url,
        "statuses": list(webhook.statuses),
        "paused": webhook.state is WebhookState.PAUSED,
        "state": webhook.state,
        "reason": webhook.reason,
        "created_at": webhook.created_at,
        "key_id": webhook.key_id,
        "key_revoked": webhook.key_revoked,
        "failing_since": webhook.failing_since,
        "not_before": webhook.not_before,
        "previous_secret_until": webhook.previous_secret_until,
    }


def shown_delivery(delivery: model.Delivery, *, responses: bool) -> Delivery:
    """A delivery, with what is sent; ``responses``: and with what was answered. That is for admins:
    else a webhook would be a way to read from our network.
    """
    hidden = {} if responses else {"response": None}
    payload = json.loads(delivery.body)
    return Delivery(
        id=delivery.id,
        type=delivery.type,
        event_id=None if delivery.event is None else payload["data"]["id"],
        message_id=delivery.message_id,
        state=delivery.state,
        replays=delivery.replays,
        attempts=delivery.attempts,
        created_at=delivery.created_at,
        next_attempt_at=delivery.next_attempt_at,
        ended_at=delivery.ended_at,
        status_code=delivery.status_code,
        error=delivery.error,
        attempt_log=[
            Attempt.model_validate(asdict(each) | hidden) for each in delivery.attempt_log
        ],
        payload=payload,
    )
