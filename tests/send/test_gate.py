"""Admission control: slots, the backlog of an outage, and the rate as one process keeps it."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import pytest

from app.errors import StoreUnavailable, Unavailable
from app.send import gate as module
from app.send.breaker import FAILURES_TO_OPEN, OPEN_FOR, CircuitBreaker
from app.send.gate import Gate, SlidingWindow
from tests.send.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock)


def open_breaker(breaker: CircuitBreaker) -> None:
    for _ in range(FAILURES_TO_OPEN):
        breaker.record_failure(uuid4())


@pytest.mark.parametrize("rate", [0.5, 1, 2.5, 10, 100])
def test_late_reservations_keep_to_the_rate(rate: float) -> None:
    window = SlidingWindow(rate)
    late = time.monotonic() - 5
    reserved = [window.reserve(late) for _ in range(int(rate * 3) + 3)]
    limit = max(1, int(rate))
    span = limit / rate
    assert all(
        later - earlier >= span - 1e-6
        for earlier, later in zip(reserved, reserved[limit:], strict=False)
    )


def test_reservations_within_the_rate_are_not_delayed() -> None:
    window = SlidingWindow(100)
    soon = time.monotonic() + 1
    times = [soon + turn / 100 for turn in range(300)]
    shuffled = list(itertools.chain.from_iterable(zip(times[1::2], times[::2], strict=True)))
    delays = [window.reserve(time_) - time_ for time_ in shuffled]
    assert max(delays) <= 0.02 + 1e-6  # swapped neighbours, and it does not add up


class Pace:
    """A PaceStore that gives out slots, or fails."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def reserve(self, wanted: int, **_: object) -> list[datetime]:
        if self.error is not None:
            raise self.error
        return [datetime.now(UTC)] * wanted


async def nothing_due() -> bool:
    return False


@pytest.mark.parametrize("why", ["away", "closed"])
async def test_a_probe_that_got_no_slot_is_replaced_at_once(
    breaker: CircuitBreaker, clock: Clock, why: str
) -> None:
    pace = Pace(StoreUnavailable("away") if why == "away" else None)
    gate = Gate(breaker=breaker, pace=cast("Any", pace), rate=5.0, is_any_due=nothing_due)
    if why == "closed":
        await gate.close()
    open_breaker(breaker)
    clock.now += OPEN_FOR
    with pytest.raises(StoreUnavailable if why == "away" else Unavailable):
        await gate.admit()
    assert breaker.allow(1) == 1


async def test_a_burst_is_throttled_to_the_rate() -> None:
    """As after iovox hung: when it answers again, all connections are free at once."""
    gate = Gate(breaker=CircuitBreaker(), pace=None, rate=20.0)
    written: list[float] = []

    async def write() -> None:
        await gate.throttle()
        written.append(time.monotonic())

    await asyncio.gather(*(write() for _ in range(45)))
    for index, at in enumerate(written[:-20]):
        assert written[index + 20] - at > 0.95
    assert written[-1] - written[0] < 3


async def test_without_a_rate_nothing_is_throttled() -> None:
    gate = Gate(breaker=CircuitBreaker(), pace=None, rate=None)
    async with asyncio.timeout(1):
        for _ in range(1000):
            await gate.throttle()


async def test_without_a_worker_here_the_backlog_is_queried(
    breaker: CircuitBreaker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKLOG_CHECK_INTERVAL", 0.05)
    due, queries = [True], 0

    async def is_any_due() -> bool:
        nonlocal queries
        queries += 1
        return due[0]

    gate = Gate(breaker=breaker, pace=None, rate=None, is_any_due=is_any_due)
    assert (await gate.admit()).slot is not None
    open_breaker(breaker)
    assert (await gate.admit()).slot is None
    clock.now += OPEN_FOR
    assert (await gate.admit()).probe
    breaker.record_success()
    for _ in range(100):
        assert (await gate.admit()).slot is None
    assert queries == 1
    due[0] = False
    await asyncio.sleep(0.06)
    for _ in range(3):
        assert (await gate.admit()).slot is not None
    assert queries == 2


async def test_with_a_worker_here_it_records_that_the_backlog_is_drained(
    breaker: CircuitBreaker,
) -> None:
    gate = Gate(breaker=breaker, pace=None, rate=None)
    open_breaker(breaker)
    breaker.record_success()
    assert (await gate.admit()).slot is None
    breaker.record_drained()
    assert (await gate.admit()).slot is not None
