"""The batcher, by itself: it knows no domain, so nothing of ours is needed to try it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.parts.batcher import MAX_WAIT, Batcher, BatcherClosed, BatcherFull

PLENTY = 1_000


class Broken(Exception):
    """What a write raises; it knows its batch."""

    def __init__(self, batch: tuple[int, ...]) -> None:
        super().__init__(batch)
        self.batch = batch


@dataclass
class Journal:
    """A place to write to, which notes every call and breaks where it is told to."""

    breaks: frozenset[int] = frozenset()
    turns: Sequence[int] = (0,)
    batches: list[tuple[int, ...]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def write(self, items: Sequence[int]) -> Sequence[str]:
        number = len(self.batches)
        self.batches.append(tuple(items))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        for _ in range(self.turns[number % len(self.turns)]):
            await asyncio.sleep(0)
        self.at_once -= 1
        if number in self.breaks:
            raise Broken(tuple(items))
        return [f"wrote {item}" for item in items]

    def batch_of(self, item: int) -> tuple[int, ...]:
        (batch,) = [batch for batch in self.batches if item in batch]
        return batch


@dataclass
class Run:
    """What one load came to."""

    journal: Journal
    taken: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)
    answers: dict[int, str | Exception] = field(default_factory=dict)
    most_waiting: int = 0


async def load(
    journal: Journal,
    *,
    bursts: Sequence[int],
    largest: int,
    capacity: int,
    writers: int,
    min_concurrent: int | None = None,
    cancelled: frozenset[int] = frozenset(),
) -> Run:
    """Bursts of items with a turn of the event loop between them, then the end."""
    batcher: Batcher[int, str] = Batcher(
        journal.write,
        largest=largest,
        capacity=capacity,
        writers=writers,
        min_concurrent=min_concurrent,
    )
    run = Run(journal)
    callers: list[asyncio.Task[None]] = []

    async def call(item: int, future: asyncio.Future[str]) -> None:
        try:
            answer: str | Exception = await future
        except Broken as error:
            answer = error
        assert item not in run.answers, "answered twice"
        run.answers[item] = answer

    item = 0
    for burst in bursts:
        for _ in range(burst):
            try:
                future = batcher.submit(item)
            except BatcherFull:
                run.refused.append(item)
            else:
                run.taken.append(item)
                callers.append(asyncio.create_task(call(item, future)))
                if item in cancelled:
                    run.cancelled.add(item)
                    asyncio.get_running_loop().call_soon(callers[-1].cancel)
            item += 1
        run.most_waiting = max(run.most_waiting, len(batcher._waiting))
        await asyncio.sleep(0)
    await batcher.close()
    await asyncio.gather(*callers, return_exceptions=True)
    return run


@settings(max_examples=200, deadline=None)
@given(
    bursts=st.lists(st.integers(0, 12), max_size=12),
    largest=st.integers(1, 6),
    capacity=st.integers(1, 20),
    writers=st.integers(1, 3),
    min_concurrent=st.none() | st.integers(1, 6),
    turns=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    breaks=st.frozensets(st.integers(0, 10)),
    cancelled=st.frozensets(st.integers(0, 40), max_size=6),
)
def test_every_item_is_written_once_in_order_and_answered_by_its_own_batch(
    bursts: list[int],
    largest: int,
    capacity: int,
    writers: int,
    min_concurrent: int | None,
    turns: list[int],
    breaks: frozenset[int],
    cancelled: frozenset[int],
) -> None:
    run = asyncio.run(
        load(
            Journal(breaks=breaks, turns=turns),
            bursts=bursts,
            largest=largest,
            capacity=capacity,
            writers=writers,
            min_concurrent=min_concurrent,
            cancelled=cancelled,
        )
    )
    batches = run.journal.batches
    # Once each and in order, the cancelled callers' too, and nothing that was refused.
    assert [item for batch in batches for item in batch] == run.taken
    assert len(run.taken) + len(run.refused) == sum(bursts)
    # Bounded.
    assert all(1 <= len(batch) <= largest for batch in batches)
    assert run.journal.most_at_once <= writers
    assert run.most_waiting <= capacity
    # Everyone who still waits is answered, by what became of the batch that the item was in. One
    # that is cancelled may have been answered before.
    assert set(run.taken) - run.cancelled <= set(run.answers) <= set(run.taken)
    broken = {batch for number, batch in enumerate(batches) if number in breaks}
    for item, answer in run.answers.items():
        batch = run.journal.batch_of(item)
        if batch in broken:
            assert isinstance(answer, Broken)
            assert answer.batch == batch
        else:
            assert answer == f"wrote {item}"


async def test_a_lone_item_waits_for_no_timer() -> None:
    journal = Journal()
    batcher: Batcher[int, str] = Batcher(journal.write, largest=10, capacity=10)
    answer = batcher.submit(1)
    turns = 0
    while not answer.done():
        turns += 1
        assert turns < 20, "it should take a few turns of the event loop, and no time"
        await asyncio.sleep(0)
    assert answer.result() == "wrote 1"


async def test_what_comes_while_a_batch_is_written_is_the_next_batch() -> None:
    journal = Journal(turns=(50,))
    alone, meanwhile = [1, *[0] * 9], [1] * 9
    run = await load(journal, bursts=alone + meanwhile, largest=100, capacity=100, writers=1)
    assert len(run.answers) == 10
    assert journal.batches == [(0,), tuple(range(1, 10))]


async def test_one_turn_of_the_event_loop_is_one_batch() -> None:
    journal = Journal()
    await load(journal, bursts=[40], largest=100, capacity=100, writers=2)
    assert [len(batch) for batch in journal.batches] == [40]


async def test_enough_of_them_start_beside_the_batch_that_is_being_written() -> None:
    journal = Journal(turns=(100,))
    bursts = [1, *[0] * 9, 3, 0, 2, 0, 4]  # 1 alone; then too few, enough, and one writer too many
    await load(journal, bursts=bursts, largest=100, capacity=100, writers=2, min_concurrent=5)
    assert [len(batch) for batch in journal.batches] == [1, 5, 4]
    assert journal.most_at_once == 2


@pytest.mark.parametrize(("writers", "waits"), [(2, False), (1, True)])
async def test_a_few_do_not_wait_for_a_batch_that_hangs(writers: int, waits: bool) -> None:
    released = asyncio.Event()

    async def write(items: Sequence[int]) -> Sequence[int]:
        if 0 in items:
            await released.wait()
        return items

    batcher: Batcher[int, int] = Batcher(
        write, largest=9, capacity=99, writers=writers, min_concurrent=5
    )
    hangs = batcher.submit(0)
    await asyncio.sleep(0.01)
    few = [batcher.submit(item) for item in (1, 2)]
    _, still = await asyncio.wait(few, timeout=MAX_WAIT / 2)
    assert len(still) == 2
    _, still = await asyncio.wait(few, timeout=MAX_WAIT * 3)
    assert len(still) == (2 if waits else 0)
    later = batcher.submit(3)  # what hung once keeps nobody else back either
    _, still = await asyncio.wait([later], timeout=MAX_WAIT * 3)
    assert bool(still) is waits
    assert not hangs.done()
    released.set()
    await batcher.close()
    assert [answer.result() for answer in (hangs, *few, later)] == [0, 1, 2, 3]


async def test_full_says_so_and_takes_nothing() -> None:
    released = asyncio.Event()

    async def write(items: Sequence[int]) -> Sequence[int]:
        await released.wait()
        return items

    batcher: Batcher[int, int] = Batcher(write, largest=1, capacity=2)
    first = batcher.submit(0)
    for _ in range(20):
        await asyncio.sleep(0)  # it is being written and waits no more
    others = [batcher.submit(1), batcher.submit(2)]
    assert batcher.is_full
    with pytest.raises(BatcherFull):
        batcher.submit(3)
    released.set()
    assert await asyncio.gather(first, *others) == [0, 1, 2]
    assert not batcher.is_full


async def test_close_writes_what_was_taken_and_takes_no_more() -> None:
    journal = Journal(turns=(3,))
    batcher: Batcher[int, str] = Batcher(journal.write, largest=2, capacity=PLENTY)
    answers = [batcher.submit(item) for item in range(7)]
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    with pytest.raises(BatcherClosed):
        batcher.submit(7)
    await closing
    assert all(answer.done() for answer in answers)
    assert sum(map(len, journal.batches)) == 7


async def test_close_with_nothing_to_do_returns() -> None:
    batcher: Batcher[int, str] = Batcher(Journal().write, largest=1, capacity=1)
    await batcher.close()
    await batcher.close()


@pytest.mark.parametrize("answered", [0, 1, 3], ids=["none", "too few", "too many"])
async def test_a_wrong_number_of_results_fails_the_batch_and_leaves_nobody_waiting(
    answered: int,
) -> None:
    async def write(items: Sequence[int]) -> Sequence[int]:
        return [0] * answered

    batcher: Batcher[int, int] = Batcher(write, largest=2, capacity=2)
    answers = [batcher.submit(1), batcher.submit(2)]
    async with asyncio.timeout(5):
        found = await asyncio.gather(*answers, return_exceptions=True)
    assert [type(one) for one in found] == [RuntimeError, RuntimeError]


async def test_a_batch_that_breaks_does_not_stop_the_next() -> None:
    journal = Journal(breaks=frozenset({0}))
    run = await load(journal, bursts=[1, 0, 0, 1], largest=1, capacity=2, writers=1)
    assert isinstance(run.answers[0], Broken)
    assert run.answers[1] == "wrote 1"
