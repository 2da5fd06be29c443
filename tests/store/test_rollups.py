"""What is read from roll-ups is what counting every message gives, whatever happened meanwhile."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy import delete, func, select, update

from app.model.audit import Actor
from app.model.search import MESSAGE_STATUSES
from app.model.status import Status
from app.record.retention import Purger
from app.record.rollups import Roller
from app.store import rollups as module
from app.store.overview import OverviewStore, Totals
from app.store.retention import RetentionStore
from app.store.rollups import EXACT, SETTLED, UNDECIDED, RollupStore, hour_of, rounded
from app.store.tables import rollup_counts, rollup_hours, rollups
from tests.lookup.world import World, living
from tests.receive.conftest import OF_PROCESSES
from tests.store.emptied import empty

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = datetime.now(UTC)
START = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(days=4)


@dataclass
class Figures:
    """The overview of a service, by its roll-ups and without."""

    world: World
    roller: Roller
    store: RollupStore

    async def read(self, app: str | None = None, *, counted_here: int = 20_000) -> Totals:
        runtime = self.world.service.runtime
        made = OverviewStore(runtime.database, runtime.stats, counted_here=counted_here)
        return await made.totals(app=app, start=START, end=datetime.now(UTC))

    async def counted(self, app: str | None = None) -> Totals:
        """By a plain count."""
        stats, totals = self.world.service.runtime.stats, Totals()
        for one in await stats.by_hour(app=app, start=START, end=datetime.now(UTC)):
            totals.add(one)
        return totals

    async def agree(self) -> Totals:
        """The two for all apps, which have to be the same."""
        for app in (None, "billing"):
            assert await self.read(app) == await self.counted(app)
        return await self.counted()

    async def run(self, statement: object) -> None:
        async with self.world.service.runtime.database.write() as connection:
            await connection.execute(statement)  # type: ignore[call-overload]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(shared_url: str) -> AsyncIterator[World]:
    async with living(shared_url) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def figures(world: World) -> Figures:
    """Of a database that is empty."""
    runtime = world.service.runtime
    rollup_tables = {"rollups", "rollup_hours", "rollup_counts"}
    await empty(runtime.database, but=OF_PROCESSES - rollup_tables)
    store = RollupStore(runtime.database, runtime.stats)
    return Figures(world, Roller(store, RetentionStore(runtime.database), rest=0), store)


async def fill(
    world: World, count: int = 40, statuses: frozenset[Status] = MESSAGE_STATUSES
) -> None:
    """Messages in every state, in all hours of four days."""
    chance = random.Random(11)
    for place in range(count):
        at = START + timedelta(hours=1) + (NOW - START - timedelta(hours=1)) * chance.random()
        await world.message(
            sorted(statuses)[place % len(statuses)],
            app=chance.choice(["billing", "shipping"]),
            origin=chance.choice(["Brand", "447923221231"]),
            created_at=at,
            status_at=at + timedelta(seconds=chance.choice([0, 1, 30, 4_000])),
            sms_activity_id=f"text-{place}",
        )


async def test_they_agree_and_are_read(figures: Figures) -> None:
    await fill(figures.world)
    assert (await figures.agree()).by_hour.total() == 40
    await figures.roller.run_once()
    await figures.agree()
    # What stands in a roll-up is what is shown.
    more = rollup_counts.c.messages + 1_000
    await figures.run(update(rollup_counts).values(messages=more))
    totals = await figures.read()
    for counter in (totals.by_hour, totals.by_app, totals.by_origin, totals.seconds):
        assert counter.total() > 1_000


async def test_late_receipts_purges_and_own_steps(figures: Figures) -> None:
    world = figures.world
    await fill(world)
    waiting = await world.message(Status.QUEUED, created_at=NOW - timedelta(hours=30))
    await figures.roller.run_once()
    before = await figures.agree()
    for place in range(40):  # the later of two, with its own reason
        at = NOW - timedelta(seconds=40 - place)
        await world.receipts(f"text-{place}", ("FAILED", at), ("FAILED", at))
    await figures.agree()
    assert await figures.read(counted_here=0) == before  # shown as it was, until it is counted
    await figures.roller.run_once()
    assert await figures.read(counted_here=0) == await figures.agree() != before
    await world.service.runtime.sender.cancel(None, waiting.id, actor=Actor("key:1", "billing"))
    await figures.agree()
    await figures.roller.run_once()
    assert ("billing", Status.CANCELLED) in (await figures.agree()).by_app
    purger = Purger(RetentionStore(world.service.runtime.database), rest=0)
    await purger.purge(NOW - timedelta(days=2), actor=Actor("service"))
    after = await figures.agree()
    await figures.roller.run_once()
    assert await figures.read(counted_here=0) == await figures.agree() == after


async def test_what_changes_while_it_is_counted_is_counted_again(figures: Figures) -> None:
    at = NOW - timedelta(hours=5)
    await figures.world.message(Status.SUBMITTED, created_at=at, sms_activity_id="slow")
    await figures.store.notice()
    (hour,) = [one for one in await figures.store.stale(1_000) if one.hour == hour_of(at)]
    await figures.world.receipts("slow", ("DELIVERED", NOW - timedelta(minutes=1)))
    await figures.store.notice()
    await figures.store.count(hour)  # seen or not: nobody can tell
    assert hour_of(at) in [one.hour for one in await figures.store.stale(1_000)]
    await figures.agree()


async def test_those_that_nobody_keeps_are_not_read(figures: Figures) -> None:
    await fill(figures.world, 15)
    await figures.roller.run_once()
    await figures.run(update(rollup_counts).values(messages=1_000))
    await figures.run(update(rollups).values(noted_at=NOW - timedelta(minutes=11)))
    await figures.agree()


async def test_old_hours_are_dropped(figures: Figures, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = timedelta(days=4)  # a month has more hours to count
    monkeypatch.setattr(module, "KEPT", kept)
    await figures.world.message(Status.SUBMITTED, created_at=NOW - timedelta(days=3))
    await figures.roller.run_once()
    past = hour_of(NOW - kept) - 5
    await figures.run(
        update(rollup_hours)
        .where(rollup_hours.c.hour == hour_of(NOW - timedelta(days=3)))
        .values(hour=past)
    )
    await figures.run(update(rollup_counts).values(hour=past))
    began = datetime.now(UTC)
    await figures.roller.run_once()
    async with figures.world.service.runtime.database.read() as connection:
        oldest = (await connection.execute(select(func.min(rollup_hours.c.hour)))).scalar_one()
        left = (await connection.execute(select(func.count()).select_from(rollup_counts))).scalar()
    # One hour, unless it ended just then.
    assert hour_of(began - kept) <= oldest <= hour_of(datetime.now(UTC) - kept)
    assert left == 0


@pytest.mark.parametrize("seconds", [-3, 0, 1, EXACT, EXACT + 1, 3_599, 86_400, 400_000])
async def test_longer_times_are_rounded_up_a_little(seconds: int) -> None:
    kept = rounded(seconds)
    assert max(0, seconds) <= kept <= max(0, seconds) * 1.032
    assert kept == max(0, seconds) or seconds > EXACT


async def test_messages_of_the_past_that_come_later(figures: Figures) -> None:
    """As the demo writes them; what is being sent has no event."""
    await figures.roller.run_once()
    await fill(figures.world, statuses=MESSAGE_STATUSES - {Status.SENDING})
    assert (await figures.agree()).by_hour.total() == 40
    await figures.roller.run_once()
    assert await figures.read(counted_here=0) == await figures.agree()
    assert await figures.store.stale(1) == []


@pytest.mark.parametrize("age", [None, timedelta(hours=100)])
async def test_hours_before_the_oldest_message_need_no_count(
    figures: Figures, age: timedelta | None
) -> None:
    if age is not None:
        await figures.world.message(Status.SUBMITTED, created_at=NOW - age)
    for table in (rollup_hours, rollups):
        await figures.run(delete(table))
    await figures.store.notice()
    oldest = min(one.hour for one in await figures.store.stale(1_000))
    expected = hour_of(NOW - age) if age else hour_of(datetime.now(UTC) - SETTLED) - UNDECIDED
    assert expected - 1 <= oldest <= expected
    await figures.roller.run_once()
    await figures.agree()
