"""Who goes next: in turns between apps, one claimer each, and cheap whatever waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.model.message import Message
from app.model.status import Status
from app.store.claiming import _SQLITE_APPS, _SQLITE_DUE, _TURNS, NEXT_DUE
from app.store.engine import Database
from app.store.messages import MessageStore
from app.store.pace import PaceStore
from tests.store.samples import message, recorded


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def store(database: Database) -> MessageStore:
    return MessageStore(database)


def queued(app: str, *, due_in: float = -60, count: int = 1) -> list[Message]:
    due = datetime.now(UTC) + timedelta(seconds=due_in)
    one = message(Status.QUEUED, app=app)
    return [
        replace(message(Status.QUEUED, app=app), next_attempt_at=due + timedelta(milliseconds=turn))
        for turn in range(count)
    ] or [one]


async def claim(store: MessageStore, limit: int, **more: object) -> list[Message]:
    until = datetime.now(UTC) + timedelta(minutes=1)
    claimed = await store.claim(limit=limit, lease=uuid4(), lease_until=until, **more)  # type: ignore[arg-type]
    return [one for one, _ in claimed]


def ids(messages: Sequence[Message]) -> list[UUID]:
    return [one.id for one in messages]


async def test_apps_take_turns(store: MessageStore) -> None:
    many, few, one = queued("a", count=50), queued("b", count=3), queued("c", due_in=-1)
    await store.add(recorded(*many, *few, *one))
    first = await claim(store, 7)
    assert [m.app for m in first] == ["a", "b", "c", "a", "b", "a", "b"]
    assert ids([m for m in first if m.app == "a"]) == ids(many[:3])
    assert ids(await claim(store, 100)) == ids(many[3:])


@pytest.mark.parametrize("limit", [1, 2])
async def test_a_claim_goes_on_where_the_last_one_left_off(store: MessageStore, limit: int) -> None:
    """Also where each takes fewer than there are apps, and the first has waited longest."""
    waiting = [one for app in "abc" for one in queued(app, due_in=-600 + ord(app), count=20)]
    await store.add(recorded(*waiting))
    served: list[str] = []
    while len(served) < 12:
        last = served[-1] if served else ""
        served += [one.app for one in await claim(store, limit, after_app=last)]
    assert served == ["a", "b", "c"] * 4


async def test_the_oldest_of_an_app_go_first(store: MessageStore) -> None:
    late, early = queued("a", due_in=-5), queued("a", due_in=-50)
    await store.add(recorded(*late, *early))
    assert ids(await claim(store, 5)) == ids(early + late)


async def test_what_is_not_due_yet_waits(store: MessageStore) -> None:
    soon, later = queued("a", due_in=30), queued("b", due_in=20)
    assert await store.next_due_at() is None
    await store.add(recorded(*soon, *later))
    assert await store.next_due_at() == later[0].next_attempt_at
    assert await claim(store, 5) == []


async def test_a_claimed_message_has_a_lease(store: MessageStore) -> None:
    await store.add(recorded(*queued("a")))
    until = datetime.now(UTC) + timedelta(minutes=1)
    lease = uuid4()
    ((one, slot),) = await store.claim(limit=5, lease=lease, lease_until=until)
    assert (one.state, one.lease, one.lease_until) == (Status.SENDING, lease, until)
    assert one.next_attempt_at is None
    assert slot <= datetime.now(UTC)
    assert await store.lapsed(now=until, limit=5) == []
    assert ids(await store.lapsed(now=until + timedelta(seconds=1), limit=5)) == [one.id]


async def test_several_claimers_never_share_a_message(store: MessageStore) -> None:
    waiting = [one for app in "abc" for one in queued(app, count=100)]
    await store.add(recorded(*waiting))

    async def all_that_i_get() -> list[UUID]:
        mine: list[UUID] = []
        misses = 0
        while misses < 3:
            got = ids(await claim(store, 10))
            misses = 0 if got else misses + 1
            mine += got
        return mine

    everyone = await asyncio.gather(*(all_that_i_get() for _ in range(4)))
    claimed = [one for mine in everyone for one in mine]
    assert sorted(claimed) == sorted(ids(waiting))


async def test_slots_are_consumed_only_by_leased_messages(
    database: Database, store: MessageStore
) -> None:
    pace = PaceStore(database, every=timedelta(seconds=0.1))
    within = timedelta(seconds=0.45)
    assert await claim(store, 64, pace=pace, within=within) == []
    await store.add(recorded(*queued("a", count=8)))
    until = datetime.now(UTC) + timedelta(minutes=1)

    async def take() -> list[datetime]:
        claimed = await store.claim(
            limit=64, lease=uuid4(), lease_until=until, pace=pace, within=within
        )
        return [slot for _, slot in claimed]

    first = await take()
    assert len(first) == 5
    gaps = [later - earlier for earlier, later in pairwise(first)]
    assert gaps == [timedelta(seconds=0.1)] * 4
    assert len(await take()) <= 1
    await asyncio.sleep(0.5)
    rest = await take()
    assert rest[0] >= first[-1] + timedelta(seconds=0.1)


HUNDRED_THOUSAND = {
    "postgresql": """
insert into messages (id, app, origin, destination, message, created_at, state, state_at,
  next_attempt_at, give_up_at, announced)
select gen_random_uuid(), 'big', '1', '2', 'x', now(), 'QUEUED', now(),
  now() - interval '1 hour' + n * interval '1 ms', now() + interval '1 day', 1
from generate_series(1, 100000) n
""",
    "sqlite": """
with recursive n(n) as (select 1 union all select n + 1 from n where n < 20000)
insert into messages (id, app, origin, destination, message, created_at, state, state_at,
  next_attempt_at, give_up_at, announced)
select lower(hex(randomblob(16))), 'big', '1', '2', 'x', '2026-01-01 00:00:00.000000', 'QUEUED',
  '2026-01-01 00:00:00.000000', printf('2026-01-01 %02d:%02d:%02d.000000', n/3600, n/60%60, n%60),
  '2999-01-01 00:00:00.000000', 1
from n
""",
}


async def test_a_hundred_thousand_hold_nobody_up_and_cost_no_more(
    database: Database, store: MessageStore
) -> None:
    kind = "sqlite" if database.is_sqlite else "postgresql"
    async with database.write() as connection:
        await connection.execute(text(HUNDRED_THOUSAND[kind]))
    small = queued("small")
    await store.add(recorded(*small))
    first = await claim(store, 10)
    assert small[0].id in ids(first)
    assert len(first) == 10
    if database.is_sqlite:
        plans = [await _plan(database, sql) for sql in (NEXT_DUE, _SQLITE_APPS, _SQLITE_DUE)]
        assert all("SEARCH" in plan and "messages_due" in plan for plan in plans)
        assert not any("SCAN m" in plan for plan in plans)
    else:
        # Never analysed, as after a sudden flood; then with statistics.
        for _ in range(2):
            assert await _pages(database, NEXT_DUE) < 100
            now = "now()"
            claiming = _TURNS.replace("$1::timestamptz", now).replace("$2::int", "64")
            claiming = claiming.replace("$3::text", "''").replace("$4::uuid", "null::uuid")
            claiming = claiming.replace("= $4", "= null::uuid")
            assert await _pages(database, claiming) < 2_000
            async with database.write() as connection:
                await connection.exec_driver_sql("analyze messages")


async def _plan(database: Database, sql: str) -> str:
    async with database.read() as connection:
        values = ("big", "2027", None, None, 10) if "?" in sql else ()
        rows = await connection.exec_driver_sql(f"explain query plan {sql}", values)
        return "\n".join(str(row.detail) for row in rows)


async def _pages(database: Database, sql: str) -> int:
    """How many pages a statement touches."""
    async with database.write() as connection:
        rows = await connection.exec_driver_sql(f"explain (analyze, buffers, format json) {sql}")
        plan = rows.scalar_one()[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
