"""When something is tried again and when it is given up: the rules, without waiting for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.model.event import event_id, event_number
from app.model.status import FINAL
from app.model.webhook import Delivery, DeliveryState, Webhook, WebhookState
from app.webhooks.client import DeliveryResult
from app.webhooks.requests import BY_DEFAULT
from app.webhooks.schedule import Schedule

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
TAKEN, REFUSED = DeliveryResult(200, None), DeliveryResult(500, "it answered 500")
SCHEDULE = Schedule()


def webhook(*, failures: int = 0, failing_for: timedelta | None = None) -> Webhook:
    return Webhook(
        id=UUID(int=1),
        app="billing",
        url="https://receiver.test/",
        statuses=("DELIVERED",),
        secret="whsec_c2VjcmV0",
        previous_secret=None,
        previous_secret_until=None,
        state=WebhookState.ACTIVE,
        reason=None,
        created_at=NOW,
        failures=failures,
        failing_since=None if failing_for is None else NOW - failing_for,
        not_before=None,
    )


def delivery(attempts: int = 0, *, tried_for: timedelta | None = None) -> Delivery:
    return Delivery(
        id=UUID(int=2),
        webhook_id=UUID(int=1),
        event=1,
        recorded_at=NOW,
        message_id=UUID(int=3),
        type="message.delivered",
        body="{}",
        state=DeliveryState.PENDING,
        replays=0,
        attempts=attempts,
        created_at=NOW,
        first_attempt_at=None if tried_for is None else NOW - tried_for,
        next_attempt_at=NOW,
        ended_at=None,
        status_code=None,
        error=None,
    )


def waits(attempts: int, result: DeliveryResult = REFUSED) -> float:
    next_at = SCHEDULE.attempted(webhook(), delivery(attempts), result, NOW).next_attempt_at
    assert next_at is not None
    return (next_at - NOW).total_seconds()


@pytest.mark.parametrize(
    ("attempts", "least", "most"),
    [(0, 0.75, 1), (1, 1.5, 2), (5, 24, 32), (9, 384, 512), (10, 450, 600), (5_000, 450, 600)],
)
def test_a_delivery_backs_off(attempts: int, least: float, most: float) -> None:
    assert least <= waits(attempts) <= most


def test_the_attempts_reach_over_three_days() -> None:
    seconds, attempts = 0.0, 0
    while seconds < 3 * 86_400:
        seconds += waits(attempts)
        attempts += 1
    assert 400 < attempts < 700


@pytest.mark.parametrize(
    ("asked", "expected"), [(120.0, 120.0), (0.0, 1.0), (3_600.0, 3_600.0), (10.0**9, 3_600.0)]
)
def test_the_asked_time_is_a_lower_bound_up_to_an_hour(asked: float, expected: float) -> None:
    assert waits(0, DeliveryResult(429, "it answered 429", asked)) == pytest.approx(
        expected, rel=0.26
    )


def test_no_receiver_silences_its_webhook_for_more_than_an_hour() -> None:
    asked = DeliveryResult(503, "it answered 503", 999_999_999.0)
    for results in ([asked], [asked, TAKEN]):
        assert SCHEDULE.health(webhook(), results, NOW).not_before == NOW + timedelta(hours=1)


DAYS = timedelta(days=3)
GIVEN_UP = {
    "at the first attempt": (None, None, DeliveryState.PENDING),
    "after two days": (timedelta(days=2), None, DeliveryState.PENDING),
    "after three, while others are taken": (DAYS, None, DeliveryState.FAILED),
    "after three, and others were taken since": (DAYS, timedelta(days=1), DeliveryState.FAILED),
    "after three in which nothing was taken": (DAYS, DAYS, DeliveryState.PENDING),
}


@pytest.mark.parametrize("case", GIVEN_UP)
def test_giving_up(case: str) -> None:
    tried_for, failing_for, expected = GIVEN_UP[case]
    attempted = SCHEDULE.attempted(
        webhook(failing_for=failing_for), delivery(9, tried_for=tried_for), REFUSED, NOW
    )
    assert attempted.state is expected
    assert (attempted.next_attempt_at is None) is (expected is DeliveryState.FAILED)


def test_a_receiver_that_is_down_is_called_once_at_a_time() -> None:
    hook, intervals = webhook(), []
    for _ in range(12):
        health = SCHEDULE.health(hook, [REFUSED], NOW)
        hook = webhook(failures=health.failures, failing_for=timedelta(0))
        wait = 0.0 if health.not_before is None else (health.not_before - NOW).total_seconds()
        intervals.append(wait)
    assert intervals[:2] == [0, 0]
    assert all(0 < wait <= 60 for wait in intervals[2:])
    assert intervals[-1] >= 45
    assert (SCHEDULE.max_in_flight(webhook()), SCHEDULE.max_in_flight(hook)) == (8, 1)
    recovered = SCHEDULE.health(hook, [REFUSED, TAKEN], NOW)
    assert (recovered.failures, recovered.failing_since, recovered.has_recovered) == (0, None, True)


@pytest.mark.parametrize(
    ("failing_for", "results", "state"),
    [
        (timedelta(days=2, hours=23), [REFUSED], WebhookState.ACTIVE),
        (DAYS, [REFUSED], WebhookState.PAUSED),
        (DAYS, [REFUSED, TAKEN], WebhookState.ACTIVE),
        (None, [TAKEN, DeliveryResult(410, "it answered 410")], WebhookState.ENDED),
    ],
)
def test_pausing_and_ending(
    failing_for: timedelta | None, results: list[DeliveryResult], state: WebhookState
) -> None:
    health = SCHEDULE.health(webhook(failing_for=failing_for), results, NOW)
    assert health.state is state
    assert bool(health.reason) is (state is not WebhookState.ACTIVE)


def test_by_default_a_webhook_is_told_of_ends() -> None:
    assert set(BY_DEFAULT) == FINAL


@pytest.mark.parametrize("number", [0, 1, 15, 2**40, 16**12 - 1])
def test_an_events_id_is_its_number(number: int) -> None:
    text = event_id(number)
    assert event_number(text) == number
    for place, digit in enumerate(text):
        for other in "0123456789abcdefxA":
            if other != digit:
                with pytest.raises(ValueError, match="not an event"):
                    event_number(text[:place] + other + text[place + 1 :])
