"""Webhooks (subscriptions to events) and their deliveries. Pure values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.model.event import EVENT_STATUSES, Event, event_body, rfc3339

TRIAL = "webhook.test"
ERASED = "message.erased"
CONTRADICTED = "CONTRADICTED"
"""What a webhook may want besides statuses: every event of a contradictory message."""
ALARM = "ALARM"
"""What a webhook of an admin over all apps may want besides: alarms that begin and end."""
MESSAGE_KINDS = (*EVENT_STATUSES, CONTRADICTED)
KINDS = (*MESSAGE_KINDS, ALARM)
"""What a webhook may want. Who wants DELIVERED is also told that such a message is contradicted."""


class WebhookState(StrEnum):
    """Whether deliveries are attempted. ENDED is permanent: the receiver answered 410 Gone."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"
    ENDED = "ENDED"


class DeliveryState(StrEnum):
    """The state of a delivery. FAILED: retries are exhausted; CANCELLED: its webhook has ended."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A subscription: a URL and the KINDS it wants, ``statuses``. ``app`` is None for the events of
    all apps.

    ``secret`` is None where it cannot be decrypted. ``failures`` counts the consecutive rounds of
    attempts without a success. ``key_id`` is the API key that made it, None where that was not
    recorded; ``key_revoked`` is whether that key is revoked or, where it is not known, whether no
    key that could have made it is valid.
    """

    id: UUID
    app: str | None
    url: str
    statuses: tuple[str, ...]
    secret: str | None
    previous_secret: str | None
    previous_secret_until: datetime | None
    state: WebhookState
    reason: str | None
    created_at: datetime
    failures: int
    failing_since: datetime | None
    not_before: datetime | None
    key_id: str | None = None
    key_revoked: bool = False

    def __repr__(self) -> str:
        return f"Webhook({self.id})"

    def secrets_at(self, now: datetime) -> tuple[str, ...]:
        """The secrets to sign with: for a time after a rotation, also the previous one."""
        until = self.previous_secret_until
        old = self.previous_secret if until and now < until else None
        return tuple(secret for secret in (self.secret, old) if secret)


@dataclass(frozen=True, slots=True)
class Payload:
    """The body of a delivery. ``event`` is the event's number; None for a test, an erasure and an
    alarm. ``message_id`` is None for a test and an alarm.
    """

    type: str
    body: str
    event: int | None = None
    recorded_at: datetime | None = None
    message_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of a receiver: when it began, and how long it took in milliseconds.

    ``error`` is None for success, and says why there is no ``status_code``. ``response`` is the
    beginning of the response's body; None where there was none, or it is not kept.
    """

    at: datetime
    took_ms: int
    status_code: int | None
    error: str | None
    response: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One payload for one webhook. ``id`` is the same in all attempts and replays.

    ``attempts`` and ``first_attempt_at`` count from the last replay on. ``attempt_log`` has the
    latest attempts, oldest first, whatever was replayed.
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
    attempt_log: tuple[Attempt, ...] = ()

    def __repr__(self) -> str:
        return f"Delivery({self.id})"


@dataclass(frozen=True, slots=True)
class Replay:
    """Filters of the deliveries to replay; None is no filter. Event numbers exclude ``after`` and
    include ``until``; times of recording include ``start`` and exclude ``end``.
    """

    after: int | None = None
    until: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    state: DeliveryState | None = None


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The new state of a delivery after an attempt; void if ``replays`` has changed meanwhile."""

    delivery_id: UUID
    replays: int
    at: datetime
    state: DeliveryState
    attempt: Attempt
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class Health:
    """The new state of the webhook itself after a round of attempts."""

    state: WebhookState
    reason: str | None
    failures: int
    failing_since: datetime | None
    not_before: datetime | None
    has_recovered: bool = False

    @property
    def has_ended(self) -> bool:
        """Whether there are no further deliveries."""
        return self.state is WebhookState.ENDED


def event_payload(event: Event) -> Payload:
    """The payload of an event, in the form that Standard Webhooks recommends."""
    kind = f"message.{(CONTRADICTED if event.status_stays else event.status).lower()}"
    body = _envelope(kind, event.at, event_body(event))
    return Payload(kind, body, event.number, event.recorded_at, event.message_id)


def trial_payload(webhook_id: UUID, now: datetime) -> Payload:
    """The payload of a test delivery."""
    body = _envelope(TRIAL, now, {"webhook_id": str(webhook_id)})
    return Payload(TRIAL, body)


def erased_payload(message_id: UUID, sms_activity_id: str | None, at: datetime) -> Payload:
    """The payload that tells that a message was erased: its receiver may have to forget, too."""
    data: dict[str, object] = {
        "message_id": str(message_id),
        "sms_activity_id": sms_activity_id,
        "erased_at": rfc3339(at),
    }
    return Payload(ERASED, _envelope(ERASED, at, data), message_id=message_id)


def _envelope(kind: str, at: datetime, data: dict[str, object]) -> str:
    return json.dumps({"type": kind, "timestamp": rfc3339(at), "data": data})
