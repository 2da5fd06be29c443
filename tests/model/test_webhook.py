"""Payloads of webhooks, and the secrets that sign them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.model.event import Event, event_body
from app.model.webhook import (
    Delivery,
    DeliveryState,
    Health,
    Webhook,
    WebhookState,
    erased_payload,
    event_payload,
    trial_payload,
)

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)
EVENT = Event(
    7, UUID(int=2), "billing", "abc", "order-42", "DELIVERED", NOW, NOW + SECOND
)  # fmt: skip
WEBHOOK = Webhook(
    id=UUID(int=1),
    app="billing",
    url="https://receiver.test/",
    statuses=("DELIVERED",),
    secret="new",
    previous_secret=None,
    previous_secret_until=None,
    state=WebhookState.ACTIVE,
    reason=None,
    created_at=NOW,
    failures=0,
    failing_since=None,
    not_before=None,
)
DELIVERY = Delivery(
    id=UUID(int=3),
    webhook_id=UUID(int=1),
    event=7,
    recorded_at=NOW,
    message_id=UUID(int=2),
    type="message.delivered",
    body="{}",
    state=DeliveryState.PENDING,
    replays=0,
    attempts=0,
    created_at=NOW,
    first_attempt_at=None,
    next_attempt_at=NOW,
    ended_at=None,
    status_code=None,
    error=None,
)


def test_after_a_rotation_both_secrets_sign_for_a_time() -> None:
    assert WEBHOOK.secrets_at(NOW) == ("new",)
    rotated = replace(WEBHOOK, previous_secret="old", previous_secret_until=NOW)
    assert rotated.secrets_at(NOW - SECOND) == ("new", "old")
    assert rotated.secrets_at(NOW) == ("new",)
    assert replace(rotated, previous_secret_until=None).secrets_at(NOW) == ("new",)
    assert replace(rotated, previous_secret=None).secrets_at(NOW - SECOND) == ("new",)


def test_the_payload_of_an_event() -> None:
    payload = event_payload(EVENT)
    assert (payload.type, payload.event, payload.recorded_at, payload.message_id) == (
        "message.delivered",
        7,
        NOW + SECOND,
        UUID(int=2),
    )
    assert json.loads(payload.body) == {
        "type": "message.delivered",
        "timestamp": "2026-11-22T09:00:00Z",
        "data": event_body(EVENT),
    }


def test_a_contradiction_alone_has_a_type_of_its_own() -> None:
    raised = event_payload(replace(EVENT, contradictory=True))
    assert raised.type == "message.delivered"
    contradicted = event_payload(replace(EVENT, contradictory=True, status_stays=True))
    assert contradicted.type == "message.contradicted"
    assert json.loads(contradicted.body)["data"]["status"] == "DELIVERED"


def test_the_payload_of_a_test() -> None:
    payload = trial_payload(UUID(int=1), NOW)
    assert (payload.type, payload.event, payload.message_id) == ("webhook.test", None, None)
    assert json.loads(payload.body) == {
        "type": "webhook.test",
        "timestamp": "2026-11-22T09:00:00Z",
        "data": {"webhook_id": "00000000-0000-0000-0000-000000000001"},
    }


@pytest.mark.parametrize("state", WebhookState)
def test_only_an_ended_webhook_has_ended(state: WebhookState) -> None:
    health = Health(state, None, 0, None, None)
    assert health.has_ended == (state is WebhookState.ENDED)


def test_a_repr_shows_no_content() -> None:
    assert repr(WEBHOOK) == "Webhook(00000000-0000-0000-0000-000000000001)"
    assert repr(DELIVERY) == "Delivery(00000000-0000-0000-0000-000000000003)"


def test_who_was_told_of_a_message_is_told_that_it_is_erased() -> None:
    payload = erased_payload(UUID(int=2), "abc", NOW)
    assert (payload.type, payload.message_id, payload.event) == (
        "message.erased",
        UUID(int=2),
        None,
    )
    assert json.loads(payload.body) == {
        "type": "message.erased",
        "timestamp": "2026-11-22T09:00:00Z",
        "data": {
            "message_id": str(UUID(int=2)),
            "sms_activity_id": "abc",
            "erased_at": "2026-11-22T09:00:00Z",
        },
    }
