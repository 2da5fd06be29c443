"""A subscription of an app's to its events, and one event on its way there. Pure values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.model.event import Event, event_body, rfc3339

TRIAL = "webhook.test"


class WebhookState(StrEnum):
    """Whether anything is sent. ENDED is for good: the receiver answered 410 Gone."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    ENDED = "ENDED"


class DeliveryState(StrEnum):
    """What became of a delivery. FAILED: given up after days; CANCELLED: its webhook has ended."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where an app wants to be told of which statuses. ``app`` is None for every app's events.

    ``failures`` counts the rounds of attempts, in a row, of which none succeeded.
    """

    id: UUID
    app: str | None
    url: str
    statuses: tuple[str, ...]
    secret: str
    previous_secret: str | None
    previous_secret_until: datetime | None
    state: WebhookState
    reason: str | None
    created_at: datetime
    failures: int
    failing_since: datetime | None
    not_before: datetime | None

    def __repr__(self) -> str:
        return f"Webhook({self.id})"

    def secrets_at(self, now: datetime) -> tuple[str, ...]:
        """What a delivery is signed with: for a while after a rotation, both."""
        old, until = self.previous_secret, self.previous_secret_until
        return (self.secret, old) if old and until and now < until else (self.secret,)


@dataclass(frozen=True, slots=True)
class Payload:
    """What a receiver is sent. ``event`` and ``message_id`` are None for a test."""

    type: str
    body: str
    event: int | None = None
    recorded_at: datetime | None = None
    message_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One payload on its way to one webhook. ``id`` stays the same however often it is sent.

    ``attempts`` and ``first_attempt_at`` count from the last replay on.
    """

    id: UUID
    webhook_id: UUID
    event: int | None
    recorded_at: datetime | None
    message_id: UUID | None
    type: str
    body: str
    state: DeliveryState
    replays: int
    attempts: int
    created_at: datetime
    first_attempt_at: datetime | None
    next_attempt_at: datetime | None
    ended_at: datetime | None
    status_code: int | None
    error: str | None

    def __repr__(self) -> str:
        return f"Delivery({self.id})"


@dataclass(frozen=True, slots=True)
class Replay:
    """Which deliveries are sent again: of events above ``after``, up to ``until``, recorded from
    ``start`` on and before ``end``, and in this state. None is no bound.
    """

    after: int | None = None
    until: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    state: DeliveryState | None = None


@dataclass(frozen=True, slots=True)
class Attempted:
    """What one attempt made of a delivery, unless it was replayed meanwhile."""

    delivery_id: UUID
    replays: int
    at: datetime
    state: DeliveryState
    status_code: int | None
    error: str | None
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class Health:
    """What a round of attempts made of the webhook itself."""

    state: WebhookState
    reason: str | None
    failures: int
    failing_since: datetime | None
    not_before: datetime | None
    has_recovered: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether nothing is ever sent again."""
        return self.state is WebhookState.ENDED


def event_payload(event: Event) -> Payload:
    """An event in the form that Standard Webhooks recommends."""
    kind = f"message.{event.status.lower()}"
    body = _envelope(kind, event.at, event_body(event))
    return Payload(kind, body, event.number, event.recorded_at, event.message_id)


def trial_payload(webhook_id: UUID, now: datetime) -> Payload:
    """What a receiver can try its code on."""
    body = _envelope(TRIAL, now, {"webhook_id": str(webhook_id)})
    return Payload(TRIAL, body)


def _envelope(kind: str, at: datetime, data: dict[str, object]) -> str:
    return json.dumps({"type": kind, "timestamp": rfc3339(at), "data": data})
