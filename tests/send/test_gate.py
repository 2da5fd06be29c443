"""The breaker, and the rate as one process keeps it."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import pytest

from app.errors import StoreUnavailable, Unavailable
from app.send import gate as module
from app.send.gate import OPEN_FOR, REFUSALS_TO_OPEN, Breaker, Gate, Window


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def refuse(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.refused(uuid4())


def test_it_takes_twenty_refusals_in_a_row(breaker: Breaker) -> None:
    assert REFUSALS_TO_OPEN >= 20
    refuse(breaker, REFUSALS_TO_OPEN - 1)
    breaker.answered()
    refuse(breaker, REFUSALS_TO_OPEN - 1)
    assert breaker.admit(64) == 64
    breaker.refused(uuid4())
    assert breaker.is_open
    assert breaker.admit(64) == 0


def test_one_message_alone_does_not_open_it(breaker: Breaker) -> None:
    one = uuid4()
    for _ in range(REFUSALS_TO_OPEN * 3):
        breaker.refused(one)
    assert breaker.admit(64) == 64
    refuse(breaker, REFUSALS_TO_OPEN - 1)
    assert breaker.is_open


def test_one_is_let_through_after_five_seconds(breaker: Breaker, clock: Clock) -> None:
    refuse(breaker, REFUSALS_TO_OPEN)
    clock.now += OPEN_FOR - 0.01
    assert breaker.admit(64) == 0
    assert breaker.opens_in == pytest.approx(0.01)
    clock.now += 0.01
    assert breaker.admit(0) == 0
    assert breaker.admit(64) == 1
    assert breaker.admit(64) == 0


def test_what_it_finds_decides(breaker: Breaker, clock: Clock) -> None:
    refuse(breaker, REFUSALS_TO_OPEN)
    clock.now += OPEN_FOR
    assert breaker.admit(1) == 1
    clock.now += 2
    breaker.refused(uuid4())
    clock.now += OPEN_FOR - 0.01
    assert breaker.admit(1) == 0
    clock.now += 0.01
    assert breaker.admit(1) == 1
    breaker.answered()
    assert breaker.admit(64) == 64
    refuse(breaker, REFUSALS_TO_OPEN - 1)
    assert not breaker.is_open


def test_one_that_is_never_heard_of_again_keeps_nobody_back(breaker: Breaker, clock: Clock) -> None:
    refuse(breaker, REFUSALS_TO_OPEN)
    clock.now += OPEN_FOR
    assert breaker.admit(1) == 1
    clock.now += OPEN_FOR
    assert breaker.admit(1) == 1


def test_one_that_did_not_go_is_replaced_at_once(breaker: Breaker, clock: Clock) -> None:
    refuse(breaker, REFUSALS_TO_OPEN)
    clock.now += OPEN_FOR
    assert breaker.admit(1) == 1
    breaker.unused()
    assert breaker.admit(1) == 1
    breaker.answered()
    breaker.unused()
    assert breaker.admit(9) == 9


@pytest.mark.parametrize("rate", [0.5, 1, 2.5, 10, 100])
def test_what_was_held_up_goes_no_faster(rate: float) -> None:
    window = Window(rate)
    late = datetime.now(UTC) - timedelta(seconds=5)
    placed = [window.place(late) for _ in range(int(rate * 3) + 3)]
    most = max(1, int(rate))
    span = timedelta(seconds=most / rate)
    assert all(
        later - earlier >= span for earlier, later in zip(placed, placed[most:], strict=False)
    )


def test_what_is_in_time_is_left_alone() -> None:
    window = Window(100)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    moments = [soon + timedelta(seconds=turn / 100) for turn in range(300)]
    shuffled = list(itertools.chain.from_iterable(zip(moments[1::2], moments[::2], strict=True)))
    late = [window.place(moment) - moment for moment in shuffled]
    assert max(late) <= timedelta(seconds=0.02)  # out of turn by one, and it does not add up


class Moments:
    """Where moments come from, or not."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def take(self, wanted: int, **_: object) -> list[datetime]:
        if self.error is not None:
            raise self.error
        return [datetime.now(UTC)] * wanted


async def nothing_due() -> bool:
    return False


@pytest.mark.parametrize("why", ["away", "closed"])
async def test_a_probe_that_got_no_moment_is_replaced_at_once(
    breaker: Breaker, clock: Clock, why: str
) -> None:
    moments = Moments(StoreUnavailable("away") if why == "away" else None)
    gate = Gate(breaker=breaker, pace=cast("Any", moments), rate=5.0, is_any_due=nothing_due)
    if why == "closed":
        await gate.close()
    refuse(breaker, REFUSALS_TO_OPEN)
    clock.now += OPEN_FOR
    with pytest.raises(StoreUnavailable if why == "away" else Unavailable):
        await gate.admit()
    assert breaker.admit(1) == 1


async def test_what_comes_all_at_once_goes_at_the_rate() -> None:
    """As when iovox hung, and answers again: all connections are free in one instant."""
    gate = Gate(breaker=Breaker(), pace=None, rate=20.0)
    went: list[float] = []

    async def go() -> None:
        await gate.in_turn()
        went.append(time.monotonic())

    await asyncio.gather(*(go() for _ in range(45)))
    for index, at in enumerate(went[:-20]):
        assert went[index + 20] - at > 0.95
    assert went[-1] - went[0] < 3


async def test_without_a_rate_nobody_waits() -> None:
    gate = Gate(breaker=Breaker(), pace=None, rate=None)
    async with asyncio.timeout(1):
        for _ in range(1000):
            await gate.in_turn()


async def test_where_another_process_works_the_queue_off_new_ones_line_up_as_well(
    breaker: Breaker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 0.05)
    due, looks = [True], 0

    async def is_any_due() -> bool:
        nonlocal looks
        looks += 1
        return due[0]

    gate = Gate(breaker=breaker, pace=None, rate=None, is_any_due=is_any_due)
    assert (await gate.admit()).moment is not None
    refuse(breaker, REFUSALS_TO_OPEN)
    assert (await gate.admit()).moment is None
    clock.now += OPEN_FOR
    assert (await gate.admit()).probe
    breaker.answered()
    for _ in range(100):
        assert (await gate.admit()).moment is None
    assert looks == 1
    due[0] = False
    await asyncio.sleep(0.06)
    for _ in range(3):
        assert (await gate.admit()).moment is not None
    assert looks == 2


async def test_where_the_queue_is_worked_off_here_its_worker_says_when(breaker: Breaker) -> None:
    gate = Gate(breaker=breaker, pace=None, rate=None)
    refuse(breaker, REFUSALS_TO_OPEN)
    breaker.answered()
    assert (await gate.admit()).moment is None
    breaker.caught_up()
    assert (await gate.admit()).moment is not None
