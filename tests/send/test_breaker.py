"""The circuit breaker towards iovox."""

from __future__ import annotations

from uuid import uuid4

import pytest

from app.send.breaker import FAILURES_TO_OPEN, OPEN_FOR, CircuitBreaker
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
