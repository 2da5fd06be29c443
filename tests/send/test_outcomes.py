"""Outcomes of attempts: backoff, deadlines and reasons."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from uuid_utils.compat import uuid7

from app.errors import FieldError, NotSent, OutcomeUnknown, Refused
from app.model.message import Message, Request, Step
from app.model.status import Status
from app.send import outcomes

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def message(
    *, attempts: int = 0, announced: bool = False, deadline_in: float | None = 3600
) -> Message:
    return Message(
        id=uuid7(),
        app="billing",
        request=Request("447923221231", "447700900100", "Hello"),
        created_at=NOW - timedelta(seconds=30),
        state=Status.SENDING,
        attempts=attempts,
        announced=announced,
        lease=uuid4(),
        give_up_at=None if deadline_in is None else NOW + timedelta(seconds=deadline_in),
    )


def wait_after(
    one: Message, error: NotSent | None = None, *, breaker_open: bool = False
) -> tuple[float, float]:
    """The shortest and the longest of many backoffs, in seconds from now."""
    waits = []
    for _ in range(200):
        outcome = outcomes.failed(one, error or NotSent("503"), NOW, breaker_open=breaker_open)
        assert outcome.step.status is Status.QUEUED
        assert outcome.next_attempt_at is not None
        waits.append((outcome.next_attempt_at - NOW).total_seconds())
    return min(waits), max(waits)


@pytest.mark.parametrize(
    ("attempts", "longest"), [(0, 1), (1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (1000, 60)]
)
def test_the_backoff_doubles_with_jitter_up_to_a_minute(attempts: int, longest: float) -> None:
    shortest, found = wait_after(message(attempts=attempts))
    assert longest / 2 <= shortest < found <= longest


def test_retry_after_is_a_lower_bound() -> None:
    assert wait_after(message(), NotSent("429", retry_after=30)) == (30, 30)
    assert wait_after(message(attempts=6), NotSent("429", retry_after=3))[0] >= 30


def test_a_retry_after_beyond_the_deadline_is_kept() -> None:
    assert wait_after(message(deadline_in=60), NotSent("503", retry_after=3600)) == (3600, 3600)


def test_a_final_attempt_before_the_deadline() -> None:
    assert wait_after(message(attempts=9, deadline_in=25)) == (20, 20)
    assert wait_after(message(attempts=0, deadline_in=25))[1] <= 1
    assert wait_after(message(attempts=9, deadline_in=5.5))[0] >= 30  # too late for another one
    assert wait_after(message(attempts=9, deadline_in=None))[0] >= 30


def test_while_the_breaker_is_open_a_message_keeps_its_place() -> None:
    shortest, longest = wait_after(message(attempts=1), breaker_open=True)
    assert -29 <= shortest <= longest <= -28  # counted from its start, 30 s ago


def test_a_full_pool_is_not_an_attempt() -> None:
    busy = NotSent("all in use", reached=False, busy=True)
    outcome = outcomes.failed(message(attempts=6), busy, NOW)
    assert not outcome.attempted
    assert wait_after(message(attempts=6), busy)[1] <= 1


@pytest.mark.parametrize("announced", [False, True])
def test_queued_is_an_event_only_once(announced: bool) -> None:
    outcome = outcomes.failed(message(announced=announced), NotSent("503"), NOW)
    assert outcome.announce is not announced


def test_a_refusal_names_the_fields_in_iovoxs_words() -> None:
    outcome = outcomes.failed(message(), Refused("Origin Empty", "Who knows"), NOW)
    assert outcome.step.status is Status.REJECTED
    assert outcome.step.reasons == ("Origin Empty", "Who knows")
    assert outcome.errors == (
        FieldError("origin", "Origin Empty"),
        FieldError("request", "Who knows"),
    )


def test_past_its_deadline_it_has_the_reasons_of_its_last_attempt() -> None:
    outcome = outcomes.past_deadline(message(), [], NOW)
    assert outcome.step.reasons == (outcomes.TOO_LATE, outcomes.NEVER_TRIED)
    refused = Step(Status.QUEUED, NOW, ("503",))
    assert outcomes.past_deadline(message(), [refused], NOW).step.reasons == (
        outcomes.TOO_LATE,
        "503",
    )
    # Its steps cannot be read just now, but it was attempted.
    assert outcomes.past_deadline(message(attempts=1), [], NOW).step.reasons == (outcomes.TOO_LATE,)


def test_no_response_is_unconfirmed() -> None:
    one = message()
    outcome = outcomes.failed(one, OutcomeUnknown("no response in time"), NOW)
    assert (outcome.step.status, outcome.lease) == (Status.UNCONFIRMED, one.lease)
    assert outcome.announce
    assert outcome.next_attempt_at is None


def test_unsent_has_reasons() -> None:
    outcome = outcomes.unsent(message(), NOW, outcomes.TOO_LATE, "HTTP 503")
    assert outcome.step.status is Status.UNSENT
    assert [error.message for error in outcome.errors] == [outcomes.TOO_LATE, "HTTP 503"]
    assert not outcome.attempted
