"""The circuit breaker towards iovox."""

from __future__ import annotations

from uuid import uuid4

import pytest

from app.send.breaker import (
    FAILURES_TO_OPEN,
    LONGEST_OPEN_FOR,
    OPEN_FOR,
    UNKNOWN_TO_OPEN,
    CircuitBreaker,
)
from tests.send.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock)


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        breaker.record_failure(uuid4())


def test_it_opens_after_twenty_failures_in_a_row(breaker: CircuitBreaker) -> None:
    assert FAILURES_TO_OPEN >= 20
    fail(breaker, FAILURES_TO_OPEN - 1)
    breaker.record_success()
    fail(breaker, FAILURES_TO_OPEN - 1)
    assert breaker.allow(64) == 64
    breaker.record_failure(uuid4())
    assert breaker.is_open
    assert breaker.allow(64) == 0


def test_one_message_alone_does_not_open_it(breaker: CircuitBreaker) -> None:
    one = uuid4()
    for _ in range(FAILURES_TO_OPEN * 3):
        breaker.record_failure(one)
    assert breaker.allow(64) == 64
    fail(breaker, FAILURES_TO_OPEN - 1)
    assert breaker.is_open


def test_a_probe_is_due_after_five_seconds(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, FAILURES_TO_OPEN)
    clock.now += OPEN_FOR - 0.01
    assert breaker.allow(64) == 0
    assert breaker.next_probe_in == pytest.approx(0.01)
    clock.now += 0.01
    assert breaker.allow(0) == 0
    assert breaker.allow(64) == 1
    assert breaker.allow(64) == 0


def test_the_probe_closes_it_or_keeps_it_open(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, FAILURES_TO_OPEN)
    clock.now += OPEN_FOR
    assert breaker.allow(1) == 1
    clock.now += 2
    breaker.record_failure(uuid4())
    clock.now += OPEN_FOR - 0.01
    assert breaker.allow(1) == 0
    clock.now += 0.01
    assert breaker.allow(1) == 1
    breaker.record_success()
    assert breaker.allow(64) == 64
    fail(breaker, FAILURES_TO_OPEN - 1)
    assert not breaker.is_open


def test_a_probe_without_a_result_blocks_nothing(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, FAILURES_TO_OPEN)
    clock.now += OPEN_FOR
    assert breaker.allow(1) == 1
    clock.now += OPEN_FOR
    assert breaker.allow(1) == 1


def test_a_released_probe_is_replaced_at_once(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, FAILURES_TO_OPEN)
    clock.now += OPEN_FOR
    assert breaker.allow(1) == 1
    breaker.release_probe()
    assert breaker.allow(1) == 1
    breaker.record_success()
    breaker.release_probe()
    assert breaker.allow(9) == 9


def test_five_unknown_outcomes_in_a_row_open_it(breaker: CircuitBreaker) -> None:
    assert UNKNOWN_TO_OPEN == 5
    for _ in range(UNKNOWN_TO_OPEN - 1):
        breaker.record_unknown(uuid4())
    breaker.record_success()
    for _ in range(UNKNOWN_TO_OPEN - 1):
        breaker.record_unknown(uuid4())
    fail(breaker, FAILURES_TO_OPEN - 1)
    assert breaker.allow(64) == 64
    breaker.record_unknown(uuid4())
    assert breaker.allow(64) == 0


def test_one_message_alone_is_one_unknown_outcome(breaker: CircuitBreaker) -> None:
    one = uuid4()
    for _ in range(3 * UNKNOWN_TO_OPEN):
        breaker.record_unknown(one)
    assert not breaker.is_open


def open_by_unknown(breaker: CircuitBreaker) -> None:
    for _ in range(UNKNOWN_TO_OPEN):
        breaker.record_unknown(uuid4())


def test_probes_that_end_unknown_become_rarer(breaker: CircuitBreaker, clock: Clock) -> None:
    """Each leaves a message UNCONFIRMED. Stragglers, sent before it opened, do not count."""
    open_by_unknown(breaker)
    for _ in range(60):
        breaker.record_unknown(uuid4())
    waits = []
    for _ in range(5):
        waits.append(breaker.next_probe_in)
        clock.now += waits[-1]
        assert breaker.allow(1) == 1
        breaker.record_unknown(uuid4())
    assert waits == [OPEN_FOR, 2 * OPEN_FOR, *[LONGEST_OPEN_FOR] * 3]
    breaker.record_success()
    open_by_unknown(breaker)
    assert breaker.next_probe_in == OPEN_FOR


def test_one_probe_is_on_the_wire_at_a_time(clock: Clock) -> None:
    breaker = CircuitBreaker(clock, probe_patience=41)
    open_by_unknown(breaker)
    clock.now += OPEN_FOR
    assert breaker.allow(1) == 1
    clock.now += 40.9
    assert breaker.allow(1) == 0
    clock.now += 0.1
    assert breaker.allow(1) == 1


def test_a_probe_that_did_not_reach_iovox_is_soon_replaced(clock: Clock) -> None:
    breaker = CircuitBreaker(clock, probe_patience=41)
    breaker.record_nothing()
    assert not breaker.is_open
    open_by_unknown(breaker)
    clock.now += OPEN_FOR
    assert breaker.allow(1) == 1
    breaker.record_nothing()
    assert breaker.next_probe_in == OPEN_FOR
