"""The rate towards iovox, shared by all who use one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import update

from app.store.engine import Database
from app.store.pace import PaceStore
from app.store.tables import pace
from tests.store.emptied import emptied

EVERY = timedelta(seconds=0.1)


@pytest.fixture
async def database(shared_url: str) -> AsyncIterator[Database]:
    async with emptied(shared_url) as opened:
        yield opened


@pytest.fixture
def store(database: Database) -> PaceStore:
    return PaceStore(database, every=EVERY)


async def test_slots_are_spaced_and_no_further_ahead_than_asked(store: PaceStore) -> None:
    now = datetime.now(UTC)
    slots = list(await store.reserve(100, within=timedelta(seconds=0.35)))
    assert len(slots) == 4
    assert timedelta(0) <= slots[0] - now < timedelta(seconds=2)
    assert [b - a for a, b in pairwise(slots)] == [EVERY] * 3
    assert await store.reserve(1, within=timedelta(0)) == []


async def test_two_replicas_never_get_the_same_slot(database: Database) -> None:
    stores = [PaceStore(database, every=timedelta(seconds=0.01)) for _ in range(4)]
    within = timedelta(seconds=10)
    taken = await asyncio.gather(*(store.reserve(10, within=within) for store in stores * 5))
    slots = sorted(slot for some in taken for slot in some)
    assert len(slots) == 200
    # Told by our own clock, which is compared anew each time: as exact as an answer is quick.
    assert all(slots[n + 50] - slots[n] > timedelta(seconds=0.4) for n in range(150))
    assert timedelta(seconds=1.9) < slots[-1] - slots[0] < timedelta(seconds=3)


async def test_unused_time_is_not_saved_up(store: PaceStore) -> None:
    await store.reserve(1, within=timedelta(0))
    await asyncio.sleep(0.5)
    assert len(await store.reserve(10, within=timedelta(seconds=0.15))) == 2


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(minutes=2)])
async def test_a_clock_that_was_set_back_holds_nobody_up(
    database: Database, store: PaceStore, ahead: timedelta
) -> None:
    await store.reserve(1, within=timedelta(0))
    async with database.write() as connection:
        await connection.execute(update(pace).values(next_at=datetime.now(UTC) + ahead))
    assert len(await store.reserve(1, within=timedelta(0))) == 1
