"""Poison isolation, on real databases: what is refused is kept apart, its batch-mates commit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from sqlalchemy import select

from app.errors import StoreUnavailable
from app.model.receipt import Receipt, Rejection, interpret
from app.ops.metrics import Metrics
from app.receive.recorder import Call, Recorder
from app.store.engine import Database
from app.store.receipts import ReceiptStore, Stored
from app.store.tables import receipts
from tests.receive.arrivals import arrival
from tests.store.emptied import emptied


@pytest_asyncio.fixture
async def opened(shared_url: str) -> AsyncIterator[Database]:
    async with emptied(shared_url) as database:
        yield database


@pytest.fixture
def recorder(opened: Database) -> Recorder:
    return Recorder(store=ReceiptStore(opened), metrics=Metrics(), announce=lambda: None)


def good(number: int) -> Receipt:
    call = interpret(arrival(number))
    assert isinstance(call, Receipt)
    return call


def poisonous(number: int) -> Receipt:
    """No database can hold half a character. `interpret` never lets one through."""
    call = good(number)
    return call._replace(content=call.content._replace(status_reason="\ud800"))


async def in_database(database: Database) -> set[str]:
    async with database.read() as connection:
        return set(await connection.scalars(select(receipts.c.sms_activity_id)))


@pytest.mark.parametrize(
    ("batch", "poison"),
    [
        (1, {0}),
        (2, {1}),
        (9, {0}),
        (9, {8}),
        (64, {13, 14, 40}),
        (5, {0, 1, 2, 3, 4}),
    ],
    ids=["alone", "the second", "the first of many", "the last", "three of 64", "all"],
)
async def test_mates_commit_and_poison_is_kept(
    recorder: Recorder, opened: Database, batch: int, poison: set[int]
) -> None:
    calls: list[Call] = [poisonous(n) if n in poison else good(n) for n in range(batch)]
    await recorder.record(calls)
    assert await in_database(opened) == {f"activity-{n}" for n in range(batch) if n not in poison}
    kept = await ReceiptStore(opened).rejected(limit=100)
    assert {one.arrival for one in kept} == {calls[n].arrival for n in poison}
    assert all(one.reason and one.http_status == 500 for one in kept)
    await recorder.record(calls)  # as when all of it is replayed
    assert await ReceiptStore(opened).rejected(limit=100) == kept


async def test_rejections_in_the_batch_are_kept_beside_them(
    recorder: Recorder, opened: Database
) -> None:
    unreadable = interpret(arrival(5, content=b"not JSON"))
    assert isinstance(unreadable, Rejection)
    await recorder.record([good(1), unreadable, poisonous(2), good(3)])
    assert await in_database(opened) == {"activity-1", "activity-3"}
    assert len(await ReceiptStore(opened).rejected(limit=10)) == 2


class Stumbling(ReceiptStore):
    """Fails as often as it is told, by an error of nobody's making."""

    def __init__(self, database: Database, *errors: Exception) -> None:
        super().__init__(database)
        self.errors = list(errors)

    async def add(self, receipts: Sequence[Receipt], rejections: Sequence[Rejection]) -> Stored:
        if self.errors:
            raise self.errors.pop(0)
        return await super().add(receipts, rejections)


async def test_a_receipt_is_not_set_apart_for_a_driver_that_stumbles_once(
    opened: Database,
) -> None:
    store = Stumbling(opened, RuntimeError("the handler is closed"))
    recorder = Recorder(store=store, metrics=Metrics(), announce=lambda: None)
    await recorder.record([good(1)])
    assert await in_database(opened) == {"activity-1"}
    assert await store.rejected(limit=10) == []


async def test_an_outage_is_no_poison(opened: Database) -> None:
    store = Stumbling(opened, StoreUnavailable("gone"))
    recorder = Recorder(store=store, metrics=Metrics(), announce=lambda: None)
    with pytest.raises(StoreUnavailable):
        await recorder.record([good(1), good(2)])
    assert await in_database(opened) == set()
    assert await store.rejected(limit=10) == []


async def test_an_outage_while_poison_is_looked_for_leaves_nothing_half_known(
    opened: Database,
) -> None:
    store = Stumbling(opened, RuntimeError("once"), StoreUnavailable("and then it is gone"))
    recorder = Recorder(store=store, metrics=Metrics(), announce=lambda: None)
    calls: list[Call] = [good(1), poisonous(2), good(3)]
    with pytest.raises(StoreUnavailable):
        await recorder.record(calls)
    await recorder.record(calls)  # out of the spool
    assert await in_database(opened) == {"activity-1", "activity-3"}
    assert len(await store.rejected(limit=10)) == 1
