"""A database that answers and takes no writes is away, steadily: standbys, recovery, read-only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from app.errors import StoreUnavailable
from app.store.engine import Database
from app.store.standbys import asynchronous_standbys
from app.store.watch import FRESH
from app.store.writable import READ_ONLY, STANDBY, require_writable
from tests.send.world import SECRET, Service, World, until
from tests.support.fixtures import Server
from tests.support.standby import Cluster, cluster

pytestmark = [pytest.mark.postgresql, pytest.mark.asyncio]

RECEIPT = '{"sms_activity_id": "a-%d", "status": "DELIVERED"}'


@pytest_asyncio.fixture
async def world(postgres_url: str) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(postgres_url, stack)


async def post_receipts(service: Service, first: int, count: int) -> set[int]:
    headers = {"X-Secret": SECRET, "Content-Type": "application/json"}
    answers = [
        await service.client.post("/dlr", content=RECEIPT % number, headers=headers)
        for number in range(first, first + count)
    ]
    return {answer.status_code for answer in answers}


async def readiness(service: Service) -> tuple[int, list[str], int]:
    answer = await service.client.get("/readyz")
    body = answer.json()
    return answer.status_code, body["reasons"], body["spooled"]


async def test_readyz_says_so_steadily_and_receipts_wait_in_the_spool(
    world: World, postgres_server: Server, postgres_url: str
) -> None:
    name = postgres_url.rpartition("/")[2]
    iovox = await world.iovox(receipts=False)
    service = await world.service(iovox)
    assert await readiness(service) == (200, [], 0)
    assert (await service.send()).status_code == 201

    postgres_server.execute(f'alter database "{name}" set default_transaction_read_only = on')
    await forget_sessions(postgres_server, name)
    assert await post_receipts(service, 0, 3) == {200}
    seen = []
    for number in range(8):
        seen.append(await readiness(service))
        assert await post_receipts(service, 3 + number, 1) == {200}
        answer = await service.send()
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        await asyncio.sleep(FRESH / 3)
    assert {status for status, *_ in seen} == {503}
    assert seen[-1][1] == [f"database: {READ_ONLY}"]
    assert all("read-only transaction" in why or READ_ONLY in why for _, (why,), _ in seen)
    assert seen[-1][2] == 10
    assert (await iovox.counts())["accepted"] == 1

    postgres_server.execute(f'alter database "{name}" reset default_transaction_read_only')

    async def ready() -> bool:
        return await readiness(service) == (200, [], 0)

    await until(ready, "it to be ready", patience=10)
    answers = [await service.send() for _ in range(10)]
    assert {answer.status_code for answer in answers} == {201}, "sessions of before are not used"


async def forget_sessions(server: Server, name: str) -> None:
    """As a restart does, which is how a server becomes read-only; a role's default needs one."""
    ending = "select pg_terminate_backend(pid) from pg_stat_activity"
    server.execute(f"{ending} where datname = '{name}'")
    await asyncio.sleep(0.1)


async def test_a_session_with_a_read_only_default_is_not_used_twice(
    postgres_server: Server, postgres_url: str
) -> None:
    name = postgres_url.rpartition("/")[2]
    database = Database(postgres_url, pool_size=2)

    async def by_sqlalchemy() -> None:
        async with database.write() as connection:
            await connection.exec_driver_sql("delete from pace")

    async def by_asyncpg() -> None:
        async with database.direct() as connection:
            await connection.execute("delete from pace")

    async def check() -> None:
        await require_writable(database)

    for write, says in (
        (by_sqlalchemy, "read-only transaction"),
        (by_asyncpg, "read-only transaction"),
        (check, READ_ONLY),
    ):
        postgres_server.execute(f'alter database "{name}" set default_transaction_read_only = on')
        with pytest.raises(StoreUnavailable, match=says):
            await write()
        postgres_server.execute(f'alter database "{name}" reset default_transaction_read_only')
        await write()
        database.drop_idle()
    await database.close()


@pytest.fixture(scope="module")
def followed(migrate: Callable[[str], None]) -> Iterator[Cluster]:
    """A primary and an asynchronous standby, with a migrated database called dlr."""
    with cluster(synchronous=False) as both:
        migrate(both.primary.create_database("dlr"))
        yield both


async def test_a_standby_is_no_database_to_write_to(followed: Cluster) -> None:
    written = followed.primary.execute("select pg_current_wal_lsn()")

    async def replayed() -> bool:
        return followed.standby.execute(f"select pg_last_wal_replay_lsn() >= '{written}'") == "t"

    await until(replayed, "the standby to have the schema")
    database = Database(followed.standby.url("dlr"))
    with pytest.raises(StoreUnavailable, match=STANDBY):
        await require_writable(database)
    assert await asynchronous_standbys(database) is None, "nobody follows the standby"
    await database.close()


@pytest.mark.parametrize("privileged", [True, False])
async def test_a_start_on_a_primary_that_waits_for_no_standby_warns(
    followed: Cluster, privileged: bool
) -> None:
    """Also where the role may not see the standbys' state: without names none is waited for."""
    url = followed.primary.url("dlr")
    if not privileged:
        followed.primary.execute(
            "drop role if exists plain; create role plain login; grant pg_read_all_data to plain",
            database="dlr",
        )
        url = url.replace("postgres@", "plain@")
    database = Database(url)
    warning = await asynchronous_standbys(database)
    assert warning is not None
    assert warning == ("1 standby, and synchronous_standby_names is empty: no commit waits for it")
    await database.close()


async def test_no_warning_where_every_commit_waits(followed: Cluster) -> None:
    database = Database(followed.primary.url("dlr"))
    await set_names(followed, "standby")
    try:
        assert await asynchronous_standbys(database) is None
        local = Database(followed.primary.url("dlr") + "?options=-c%20synchronous_commit%3Dlocal")
        assert "synchronous_commit is local" in (await asynchronous_standbys(local) or "")
        await local.close()
    finally:
        await set_names(followed, "")
        await database.close()


async def test_without_standbys_there_is_nothing_to_say(postgres_url: str, sqlite_url: str) -> None:
    for url in (postgres_url, sqlite_url):
        database = Database(url)
        assert await asynchronous_standbys(database) is None
        await require_writable(database)
        await database.close()


async def set_names(followed: Cluster, names: str) -> None:
    followed.primary.execute(f"alter system set synchronous_standby_names = '{names}'")
    followed.primary.execute("select pg_reload_conf()")
    wanted = "sync" if names else "async"
    query = "select sync_state from pg_stat_replication"

    async def is_so() -> bool:
        return followed.primary.execute(query) == wanted

    await until(is_so, f"the standby to be {wanted}")
