"""Time-outs with hardly a timer: they ring when they were set to, and only then."""

from __future__ import annotations

import asyncio
import time

import pytest

from app.parts.alarm import Alarm, Deadlines

SOON, LATER = 0.05, 0.2
SLACK = 0.15
"""Seconds that a busy machine may be late."""


class Bell:
    """Notes when it rang."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.rang: list[float] = []

    def __call__(self) -> None:
        self.rang.append(time.monotonic() - self.began)


@pytest.mark.parametrize(
    ("settings", "due"),
    [
        ([SOON], SOON),
        ([SOON, LATER], LATER),
        ([LATER, SOON], SOON),
        ([LATER, SOON, LATER], LATER),
        ([SOON] * 1000, SOON),
    ],
    ids=["once", "put off", "brought forward", "both", "often"],
)
async def test_it_rings_once_and_when_it_was_set_to_last(settings: list[float], due: float) -> None:
    bell = Bell()
    alarm = Alarm(bell)
    for seconds in settings:
        alarm.set(seconds)
    await asyncio.sleep(due + SLACK)
    (rang,) = bell.rang
    assert due * 0.95 <= rang < due + SLACK


async def test_one_that_is_stopped_does_not_ring() -> None:
    bell = Bell()
    alarm = Alarm(bell)
    alarm.set(SOON)
    alarm.stop()
    await asyncio.sleep(SOON * 2)
    assert bell.rang == []
    alarm.set(SOON)
    await asyncio.sleep(SOON + SLACK)
    assert len(bell.rang) == 1, "it can be set again"


async def test_one_that_is_closed_leaves_no_timer() -> None:
    alarm = Alarm(Bell())
    alarm.set(60)
    timer = alarm._timer
    alarm.close()
    assert timer is not None
    assert timer.cancelled()


async def test_what_is_not_done_in_time_fails() -> None:
    deadlines = Deadlines(SOON)
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    futures = [loop.create_future() for _ in range(5)]
    for future in futures:
        deadlines.watch(future)
    futures[1].set_result("in time")
    futures[3].cancel()
    for number in (0, 2, 4):
        with pytest.raises(TimeoutError):
            await futures[number]
    assert SOON * 0.95 <= time.monotonic() - began < SOON + SLACK
    assert futures[1].result() == "in time"
    assert futures[3].cancelled()


async def test_each_has_the_same_time_from_when_it_began() -> None:
    deadlines = Deadlines(LATER)
    first, second = (asyncio.get_running_loop().create_future() for _ in range(2))
    deadlines.watch(first)
    await asyncio.sleep(LATER / 2)
    deadlines.watch(second)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await first
    assert not second.done()
    with pytest.raises(TimeoutError):
        await second
    assert LATER * 0.95 <= time.monotonic() - began < LATER + SLACK


async def test_what_is_done_is_not_kept() -> None:
    deadlines = Deadlines(60)
    for _ in range(1000):
        future = asyncio.get_running_loop().create_future()
        deadlines.watch(future)
        future.set_result(None)
    assert len(deadlines._watched) == 1
