"""Results that are shared are never older than the question."""

from __future__ import annotations

import asyncio

import pytest

from app.parts.shared import Shared

EVERY = 0.05


class Counter:
    def __init__(self) -> None:
        self.made = 0

    async def make(self) -> int:
        self.made += 1
        made = self.made
        await asyncio.sleep(0.001)
        return made


async def test_who_asks_together_gets_one_result() -> None:
    counter = Counter()
    shared = Shared(counter.make, every=EVERY)
    assert await asyncio.gather(*(shared.get() for _ in range(50))) == [1] * 50
    assert await asyncio.gather(*(shared.get() for _ in range(50))) == [2] * 50


async def test_who_waited_goes_on_one_after_the_other() -> None:
    shared = Shared(Counter().make, every=0)
    asking = [asyncio.create_task(shared.get()) for _ in range(20)]
    done, pending = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    await asyncio.gather(*pending)


async def test_no_result_is_older_than_its_question() -> None:
    counter = Counter()
    shared = Shared(counter.make, every=0)
    first = asyncio.create_task(shared.get())
    await asyncio.sleep(0)  # it is asked for
    await asyncio.sleep(0)  # it is begun
    assert counter.made == 1
    assert (await shared.get(), await first) == (2, 1)


async def test_there_is_a_pause_between_two() -> None:
    loop = asyncio.get_running_loop()
    shared = Shared(Counter().make, every=EVERY)
    started = loop.time()
    for _ in range(3):
        await shared.get()
    assert loop.time() - started >= 2 * EVERY * 0.9


async def test_a_failure_is_for_those_who_asked_and_not_for_ever() -> None:
    answers = iter([False, True])

    async def make() -> bool:
        if not next(answers):
            raise OSError("away")
        return True

    shared = Shared(make, every=0)
    with pytest.raises(OSError, match="away"):
        await shared.get()
    assert await shared.get()


async def test_who_gives_up_takes_nothing_from_the_others() -> None:
    shared = Shared(Counter().make, every=EVERY)
    patient, hasty = asyncio.create_task(shared.get()), asyncio.create_task(shared.get())
    await asyncio.sleep(0)
    hasty.cancel()
    assert await patient == 1
