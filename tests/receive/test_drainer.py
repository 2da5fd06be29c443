"""The drainer over a real spool and real databases; its recorder is played where time matters."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select

from app.errors import StoreRefused, StoreUnavailable, Unavailable
from app.model.receipt import Receipt, Rejection
from app.ops.metrics import Metrics
from app.receive import drainer as module
from app.receive.drainer import Drainer
from app.receive.recorder import Recorder
from app.receive.spool import Spool
from app.receive.spool_queue import SpoolQueue
from app.store.receipts import ReceiptStore, Stored
from app.store.tables import receipts
from app.store.watch import DatabaseWatch
from tests.receive.arrivals import arrival, arrivals, body
from tests.receive.played import AWAY, PlayedRecorder, never_down
from tests.store.emptied import emptied

MANY = 1_300
"""More than two batches."""


@pytest_asyncio.fixture
async def spool(tmp_path: Path) -> AsyncIterator[SpoolQueue]:
    spool = SpoolQueue(Spool(tmp_path / "spool"))
    spool.open()
    yield spool
    await spool.close()


@pytest_asyncio.fixture
async def watch() -> DatabaseWatch:
    watch = DatabaseWatch(never_down)
    await watch.check_now()
    return watch


@pytest_asyncio.fixture
async def store(shared_url: str) -> AsyncIterator[ReceiptStore]:
    async with emptied(shared_url) as database:
        yield ReceiptStore(database)


def made(
    spool: SpoolQueue,
    watch: DatabaseWatch,
    recorder: Recorder,
    tmp_path: Path,
    *,
    patience: float = module.PATIENCE,
) -> Drainer:
    return Drainer(
        spool=spool,
        recorder=recorder,
        watch=watch,
        metrics=Metrics(),
        lock=tmp_path / "spool" / "drain.lock",
        patience=patience,
    )


@pytest.fixture
def drainer(
    spool: SpoolQueue, watch: DatabaseWatch, store: ReceiptStore, tmp_path: Path
) -> Drainer:
    return made(spool, watch, over(store), tmp_path)


def over(store: ReceiptStore) -> Recorder:
    return Recorder(store=store, metrics=Metrics(), announce=lambda: None)


async def until_empty(spool: SpoolQueue) -> None:
    async with asyncio.timeout(10):
        while await spool.depth():  # noqa: ASYNC110  another task empties it
            await asyncio.sleep(0.02)


async def stored(store: ReceiptStore) -> dict[str, tuple[object, object, int]]:
    """id, received_at and times_seen by sms_activity_id."""
    columns = (receipts.c.id, receipts.c.received_at, receipts.c.times_seen)
    async with store._database.read() as connection:
        rows = await connection.execute(select(receipts.c.sms_activity_id, *columns))
        return {row[0]: (row[1], row[2], row[3]) for row in rows}


async def test_everything_arrives_with_its_own_id_and_time(
    drainer: Drainer, spool: SpoolQueue, store: ReceiptStore
) -> None:
    kept = arrivals(range(MANY))
    await spool.append(kept)
    assert await drainer.drain() == MANY
    assert await spool.depth() == 0
    assert await stored(store) == {
        f"activity-{n}": (one.id, one.received_at, 1) for n, one in enumerate(kept)
    }
    assert await drainer.drain() == 0


async def test_an_arrival_that_had_landed_after_all_is_not_counted_again(
    drainer: Drainer, spool: SpoolQueue, store: ReceiptStore
) -> None:
    first, repeated = arrival(1), arrival(1)
    for _ in range(3):  # as after three crashes between commit and clearing
        await spool.append([first, repeated])
        await drainer.drain()
    ((_, _, times_seen),) = (await stored(store)).values()
    assert times_seen == 2


async def test_what_came_first_stays_first_though_it_is_stored_last(
    drainer: Drainer, spool: SpoolQueue, store: ReceiptStore
) -> None:
    early, late = arrival(1), arrival(1)._replace(received_at=arrival(5_000).received_at)
    await spool.append([late])
    await drainer.drain()
    await spool.append([early])
    await drainer.drain()
    ((_, received_at, times_seen),) = (await stored(store)).values()
    assert (received_at, times_seen) == (early.received_at, 2)


class Refusing(ReceiptStore):
    """Will not have one receipt."""

    async def add(self, receipts: Sequence[Receipt], rejections: Sequence[Rejection]) -> Stored:
        if any(receipt.sms_activity_id == "poison" for receipt in receipts):
            raise StoreRefused("it is poison")
        return await super().add(receipts, rejections)


async def test_a_poisonous_receipt_is_set_apart_and_holds_up_nobody(
    spool: SpoolQueue, watch: DatabaseWatch, store: ReceiptStore, tmp_path: Path
) -> None:
    drainer = made(spool, watch, over(Refusing(store._database)), tmp_path)
    poison = arrival(0, content=body("poison"))
    await spool.append([*arrivals(range(7)), poison, *arrivals(range(7, 20))])
    assert await drainer.drain() == 21
    assert await spool.depth() == 0
    assert set(await stored(store)) == {f"activity-{n}" for n in range(20)}
    (kept,) = await store.rejected(limit=10)
    assert kept.arrival == poison
    assert "it is poison" in kept.reason


async def test_new_ones_that_come_meanwhile_are_drained_too(
    drainer: Drainer, spool: SpoolQueue, store: ReceiptStore
) -> None:
    await spool.append(arrivals(range(MANY)))
    draining = asyncio.create_task(drainer.drain())
    for number in range(MANY, MANY + 50):
        await spool.append([arrival(number)])
    await draining
    await drainer.drain()
    assert len(await stored(store)) == MANY + 50


async def test_what_cannot_be_deleted_is_not_recorded_again_and_again(
    drainer: Drainer, spool: SpoolQueue, store: ReceiptStore, tmp_path: Path
) -> None:
    await spool.append(arrivals(range(10)))
    path = tmp_path / "spool" / "receipts.db"
    spool._spool._connection.execute("pragma busy_timeout = 50")  # type: ignore[union-attr]
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(Unavailable, match="locked"):
            await drainer.drain()  # the file that is passed over cannot be replaced either
        assert len(await stored(store)) == 10
        assert await spool.depth() == 0
        other.execute("rollback")
    await spool.append([arrival(10)])
    assert await drainer.drain() == 1
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("select count(*) from arrivals").fetchone() == (0,)


# --- with a recorder that is played --------------------------------------------------------------


async def test_an_outage_in_the_middle_keeps_what_is_left(
    spool: SpoolQueue, watch: DatabaseWatch, tmp_path: Path
) -> None:
    recorder = PlayedRecorder()
    drainer = made(spool, watch, recorder, tmp_path)
    kept = arrivals(range(MANY))
    await spool.append(kept)
    running = asyncio.create_task(drainer.run())
    await recorder.landed_some.wait()
    recorder.error = AWAY
    async with asyncio.timeout(10):
        while watch.is_up:  # noqa: ASYNC110  it has no event for that
            await asyncio.sleep(0.01)
    landed = len(recorder.landed)
    assert await spool.depth() == MANY - landed
    recorder.error = None
    await watch.check_now()
    await until_empty(spool)
    running.cancel()
    assert [call.arrival for call in recorder.landed] == kept, "oldest first, each once"


async def test_a_batch_that_is_too_large_for_the_time_is_made_smaller(
    spool: SpoolQueue, watch: DatabaseWatch, tmp_path: Path
) -> None:
    recorder = PlayedRecorder(seconds=60)
    drainer = made(spool, watch, recorder, tmp_path, patience=0.1)
    await spool.append(arrivals(range(module.BATCH)))
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await drainer.drain()
    assert [len(batch) for batch in recorder.batches] == [500, 250, 125]
    recorder.seconds = 0
    assert await drainer.drain() == module.BATCH
    assert [len(batch) for batch in recorder.batches][3:] == [62, 124, 248, 66]


async def test_one_of_two_works_at_a_time(
    spool: SpoolQueue, watch: DatabaseWatch, tmp_path: Path
) -> None:
    first, second = PlayedRecorder(seconds=0.3), PlayedRecorder(seconds=0.3)
    await spool.append(arrivals(range(10)))
    running = [
        asyncio.create_task(made(spool, watch, recorder, tmp_path).run())
        for recorder in (first, second)
    ]
    await until_empty(spool)
    for task in running:
        task.cancel()
    assert sorted([len(first.landed), len(second.landed)]) == [0, 10]


async def test_a_fault_of_ours_is_no_busy_loop(
    spool: SpoolQueue, watch: DatabaseWatch, tmp_path: Path
) -> None:
    recorder = PlayedRecorder(error=ZeroDivisionError("nobody foresaw this"))
    await spool.append(arrivals(range(3)))
    running = asyncio.create_task(made(spool, watch, recorder, tmp_path).run())
    await asyncio.sleep(module.LOOK_EVERY * 1.5)
    running.cancel()
    assert 1 <= len(recorder.batches) <= 2
    assert await spool.depth() == 3
