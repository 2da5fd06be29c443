"""The inbox over a database that is played and a real spool: what goes where, and how fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.errors import StoreRefused, Unavailable
from app.model.receipt import Arrival, Receipt, Rejection
from app.ops.metrics import Metrics
from app.receive import inbox as module
from app.receive.inbox import Inbox
from app.receive.spool import Spool
from app.receive.spool_queue import SpoolQueue
from app.store.watch import DatabaseWatch
from tests.receive.arrivals import arrival, arrivals
from tests.receive.played import AWAY, PlayedRecorder, never_down

WRITERS = 2
PATIENCE = 0.3
BESIDES = 0.3
"""Seconds that everything but the patience may take, on a busy machine."""


class FullSpool(Spool):
    """A disk without room."""

    def append(self, arrivals: object) -> None:
        raise Unavailable("The spool cannot be used: database or disk is full")


@pytest.fixture
def recorder() -> PlayedRecorder:
    return PlayedRecorder()


@pytest_asyncio.fixture
async def watch() -> DatabaseWatch:
    """It is up, and nobody checks again once it is not."""
    watch = DatabaseWatch(never_down)
    await watch.check_now()
    return watch


@pytest_asyncio.fixture
async def spool(tmp_path: Path) -> AsyncIterator[SpoolQueue]:
    spool = SpoolQueue(Spool(tmp_path))
    spool.open()
    yield spool
    await spool.close()


@pytest.fixture
def inbox(recorder: PlayedRecorder, spool: SpoolQueue, watch: DatabaseWatch) -> Inbox:
    return made(recorder, spool, watch)


def made(
    recorder: PlayedRecorder, spool: SpoolQueue, watch: DatabaseWatch, *, patience: float = PATIENCE
) -> Inbox:
    return Inbox(
        recorder=recorder,
        spool=spool,
        watch=watch,
        metrics=Metrics(),
        patience=patience,
        writers=WRITERS,
    )


async def spooled(spool: SpoolQueue) -> list[Arrival]:
    return [found for _, found in await spool.oldest(100_000)]


async def accept_all(inbox: Inbox, calls: list[Arrival]) -> float:
    """Seconds until the last of them was kept."""
    began = time.monotonic()
    await asyncio.gather(*(inbox.accept(call) for call in calls))
    return time.monotonic() - began


async def test_what_the_database_takes_never_touches_the_spool(
    inbox: Inbox, recorder: PlayedRecorder, spool: SpoolQueue
) -> None:
    calls = arrivals(range(50))
    await accept_all(inbox, calls)
    assert [call.arrival for call in recorder.landed] == calls
    assert len(recorder.batches) < 5, "in groups"
    assert await spooled(spool) == []


async def test_it_answers_what_a_call_was_understood_as(inbox: Inbox) -> None:
    assert isinstance(await inbox.accept(arrival(1)), Receipt)
    assert isinstance(await inbox.accept(arrival(1, content=b"not JSON")), Rejection)


async def test_a_database_that_fails_hands_over_to_the_spool_and_is_left_alone(
    inbox: Inbox, recorder: PlayedRecorder, spool: SpoolQueue, watch: DatabaseWatch
) -> None:
    recorder.error = AWAY
    calls = arrivals(range(5))
    await accept_all(inbox, calls)
    assert watch.reason == "connection refused"
    tried = len(recorder.batches)
    more = arrivals(range(5, 10))
    await accept_all(inbox, more)
    assert len(recorder.batches) == tried, "nobody asks it before a check"
    assert await spooled(spool) == calls + more
    recorder.error = None
    await watch.check_now()
    await accept_all(inbox, [last := arrival(10)])
    assert [call.arrival for call in recorder.landed] == [last]


async def test_one_that_is_too_slow_costs_the_patience_and_no_more(
    inbox: Inbox, recorder: PlayedRecorder, spool: SpoolQueue, watch: DatabaseWatch
) -> None:
    recorder.seconds = 60
    took = await accept_all(inbox, calls := arrivals(range(20)))
    assert PATIENCE <= took < PATIENCE + BESIDES
    assert await spooled(spool) == calls
    assert not watch.is_up
    assert await accept_all(inbox, arrivals(range(5))) < BESIDES, "the next do not wait for it"


async def test_what_waits_behind_slow_batches_does_not_wait_longer(
    recorder: PlayedRecorder, spool: SpoolQueue, watch: DatabaseWatch
) -> None:
    patience = PATIENCE * 4  # or a busy machine is as slow as what must not be
    inbox = made(recorder, spool, watch, patience=patience)
    recorder.seconds = patience * 0.9  # never too slow by itself
    calls = arrivals(range(module.LARGEST_BATCH * WRITERS * 3))
    assert await accept_all(inbox, calls) < patience * 1.5 + BESIDES
    kept = {call.arrival.id for call in recorder.landed} | {a.id for a in await spooled(spool)}
    assert kept == {call.id for call in calls}
    assert await spooled(spool) != []


async def test_more_than_it_holds_goes_to_the_spool(
    inbox: Inbox, recorder: PlayedRecorder, spool: SpoolQueue
) -> None:
    recorder.seconds = PATIENCE / 2
    calls = arrivals(range(module.CAPACITY + 100))
    await accept_all(inbox, calls)
    kept = {call.arrival.id for call in recorder.landed} | {a.id for a in await spooled(spool)}
    assert kept == {call.id for call in calls}
    assert len(await spooled(spool)) >= 100


@pytest.mark.parametrize(
    "error",
    [StoreRefused("even the rejection"), ZeroDivisionError("a fault of ours")],
    ids=["refused", "unforeseen"],
)
async def test_whatever_else_fails_the_receipt_is_in_the_spool(
    inbox: Inbox,
    recorder: PlayedRecorder,
    spool: SpoolQueue,
    watch: DatabaseWatch,
    error: Exception,
) -> None:
    recorder.error = error
    await accept_all(inbox, calls := arrivals(range(3)))
    assert await spooled(spool) == calls
    assert watch.is_up, "it says nothing against the database"


async def test_only_if_both_fail_it_is_refused(
    recorder: PlayedRecorder, tmp_path: Path, watch: DatabaseWatch
) -> None:
    full = SpoolQueue(FullSpool(tmp_path))
    inbox = made(recorder, full, watch)
    recorder.error = AWAY
    with pytest.raises(Unavailable, match="full"):
        await inbox.accept(arrival(1))
    assert full.reason is not None
    await full.close()


async def test_where_the_spool_is_full_a_slow_database_has_a_second_chance(
    recorder: PlayedRecorder, tmp_path: Path, watch: DatabaseWatch
) -> None:
    full = SpoolQueue(FullSpool(tmp_path))
    inbox = made(recorder, full, watch)
    recorder.seconds = PATIENCE * 1.5
    await inbox.accept(call := arrival(1))
    assert [one.arrival for one in recorder.landed] == [call]
    assert len(recorder.batches) == 1, "the same commit, waited for longer"
    await full.close()


async def test_where_the_spool_is_full_even_a_database_that_was_away_is_asked(
    recorder: PlayedRecorder, tmp_path: Path, watch: DatabaseWatch
) -> None:
    full = SpoolQueue(FullSpool(tmp_path))
    inbox = made(recorder, full, watch)
    watch.report_down("as of the last we heard")
    await inbox.accept(call := arrival(1))
    assert [one.arrival for one in recorder.landed] == [call]
    await full.close()


async def test_a_caller_that_leaves_takes_its_receipt_nowhere(
    inbox: Inbox, recorder: PlayedRecorder
) -> None:
    recorder.seconds = 0.05
    caller = asyncio.create_task(inbox.accept(call := arrival(1)))
    await asyncio.sleep(0.01)
    caller.cancel()
    await inbox.close()
    assert [one.arrival for one in recorder.landed] == [call]


async def test_closing_finishes_what_was_taken_and_refuses_the_rest(
    inbox: Inbox, recorder: PlayedRecorder
) -> None:
    recorder.seconds = 0.05
    calls = arrivals(range(10))
    callers = [asyncio.create_task(inbox.accept(call)) for call in calls]
    await asyncio.sleep(0)
    await inbox.close()
    await asyncio.gather(*callers)
    assert [one.arrival for one in recorder.landed] == calls
    with pytest.raises(Unavailable, match="shutting down"):
        await inbox.accept(arrival(1))
