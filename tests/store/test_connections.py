"""The pool on a network that lies: dead links, closed ones, and a client that has gone."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit, urlunsplit

import pytest
import pytest_asyncio

from app.errors import StoreRefused, StoreUnavailable
from app.store.connections import AtHand
from app.store.engine import Database
from tests.support.proxy import Mode, TcpProxy

pytestmark = pytest.mark.postgresql

POOL = 3


@pytest_asyncio.fixture
async def proxy(postgres_url: str) -> AsyncIterator[TcpProxy]:
    parts = urlsplit(postgres_url)
    async with TcpProxy(parts.hostname or "", parts.port or 5432) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def database(postgres_url: str, proxy: TcpProxy) -> AsyncIterator[Database]:
    parts = urlsplit(postgres_url)
    user = parts.netloc.rpartition("@")[0]
    way = urlunsplit(parts._replace(netloc=f"{user}@{proxy.host}:{proxy.port}"))
    database = Database(way, pool_size=POOL)
    await asyncio.gather(*(run(database, "select pg_sleep(0.1)") for _ in range(POOL)))
    yield database
    await database.close()


async def run(database: Database, statement: str) -> object:
    async with database.write() as connection:
        return (await connection.exec_driver_sql(statement)).scalar()


async def test_both_ends_are_told_to_give_up_a_dead_link(database: Database) -> None:
    wanted = {
        "client_connection_check_interval": "15s",
        "idle_in_transaction_session_timeout": "15s",
        "tcp_keepalives_idle": "5",
        "tcp_user_timeout": "15000",
    }
    found = {name: await run(database, f"show {name}") for name in wanted}
    assert found == wanted
    async with database.direct() as driver:
        link = driver._transport.get_extra_info("socket")
        assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000


@pytest.mark.parametrize(
    ("configured", "used"),
    [("off", "on"), ("on", "on"), ("local", "local"), ("remote_apply", "remote_apply")],
)
async def test_a_commit_is_on_disk_when_it_is_answered(
    postgres_url: str, configured: str, used: str
) -> None:
    name = urlsplit(postgres_url).path.removeprefix("/")
    database = Database(postgres_url)
    async with database.direct() as driver:
        await driver.execute(f'alter database "{name}" set synchronous_commit = {configured}')
    await database.close()
    assert await run(database, "show synchronous_commit") == used
    await database.close()


async def test_connections_that_were_closed_while_idle_fail_nobody(
    database: Database, proxy: TcpProxy
) -> None:
    await proxy.cut()
    await asyncio.sleep(0.1)
    assert await asyncio.gather(*(run(database, "select 1") for _ in range(POOL))) == [1] * POOL


async def test_a_silent_link_is_left_behind_at_once(database: Database, proxy: TcpProxy) -> None:
    await proxy.switch(Mode.BLACKHOLE)
    stuck = [asyncio.create_task(run(database, "select 1")) for _ in range(POOL - 1)]
    await asyncio.sleep(0.1)
    began = time.monotonic()
    database.drop_idle()
    assert time.monotonic() - began < 0.1
    for task in stuck:
        task.cancel()
    # As when a firewall has lost its table: the old links stay silent, and new ones work.
    proxy.mode = Mode.PASS
    assert await run(database, "select 1") == 1
    await asyncio.wait(stuck, timeout=10)
    assert all(task.done() for task in stuck)
    assert await asyncio.gather(*(run(database, "select 1") for _ in range(POOL))) == [1] * POOL


async def test_closing_waits_for_no_goodbye(database: Database, proxy: TcpProxy) -> None:
    await proxy.switch(Mode.BLACKHOLE)
    began = time.monotonic()
    await database.close()
    assert time.monotonic() - began < 1


async def test_what_is_in_use_is_not_cut(database: Database) -> None:
    busy = asyncio.create_task(run(database, "select 7 from pg_sleep(0.3)"))
    await asyncio.sleep(0.1)
    database.drop_idle()
    assert await busy == 7


async def test_an_outage_says_unavailable_and_is_over_when_it_is_over(
    database: Database, proxy: TcpProxy
) -> None:
    await proxy.switch(Mode.REFUSE)
    with pytest.raises(StoreUnavailable):
        await run(database, "select 1")
    await proxy.switch(Mode.PASS)
    assert await run(database, "select 1") == 1


async def backend(database: Database) -> int:
    async with database.direct() as driver:
        return int(await driver.fetchval("select pg_backend_pid()"))


async def test_one_at_hand_is_used_again(database: Database) -> None:
    async with database.direct() as first, database.direct() as second:
        pids = {await each.fetchval("select pg_backend_pid()") for each in (first, second)}
    assert len(pids) == 2
    assert {await backend(database) for _ in range(5)} < pids
    assert await asyncio.gather(*(run(database, "select 1") for _ in range(POOL))) == [1] * POOL


async def test_one_at_hand_goes_back_to_the_pool_in_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await backend(database)
    assert database._at_hand._kept
    monkeypatch.setattr(AtHand, "KEPT_FOR", -1.0)
    await backend(database)
    async with database.direct(), database.direct(), database.direct() as driver:
        assert kept in {
            row["pid"]
            for row in await driver.fetch(
                "select pid from pg_stat_activity where datname = current_database()"
            )
        }, "it was not closed"


async def test_one_at_hand_that_was_closed_fails_nobody(
    database: Database, proxy: TcpProxy
) -> None:
    before = await backend(database)
    await proxy.cut()
    await asyncio.sleep(0.1)
    assert await backend(database) != before


async def test_whoever_is_done_hardly_waits_for_a_silent_link(
    database: Database, proxy: TcpProxy
) -> None:
    """More than are kept: the others are to be made as the pool wants them, which needs words."""
    async with AsyncExitStack() as stack:
        for _ in range(POOL):
            await stack.enter_async_context(database.direct())
        await proxy.switch(Mode.BLACKHOLE)
        began = time.monotonic()
    assert time.monotonic() - began < POOL * AtHand.TIDYING + 1
    proxy.mode = Mode.PASS
    database.drop_idle()
    assert await run(database, "select 1") == 1


async def test_one_at_hand_is_left_behind_with_the_idle(
    database: Database, proxy: TcpProxy
) -> None:
    before = await backend(database)
    await proxy.switch(Mode.BLACKHOLE)
    database.drop_idle()
    proxy.mode = Mode.PASS
    async with asyncio.timeout(2):
        assert await backend(database) != before


async def test_one_that_failed_is_not_kept(database: Database) -> None:
    before = await backend(database)
    with pytest.raises(StoreRefused):
        async with database.direct() as driver:
            await driver.execute("select 1 / 0")
    assert await backend(database) != before


async def test_whoever_waits_for_the_pool_gets_what_comes_free(database: Database) -> None:
    """Not one at hand is kept from those who wait, nor does who comes later get it first."""
    busy = [
        asyncio.create_task(run(database, "select 1 from pg_sleep(1.5)")) for _ in range(POOL - 1)
    ]
    freed = asyncio.Event()

    async def hold() -> None:
        async with database.direct():
            await freed.wait()

    holding = asyncio.create_task(hold())
    await asyncio.sleep(0.2)
    waiting = [
        asyncio.create_task(backend(database)),
        asyncio.create_task(run(database, "select 1")),
    ]
    await asyncio.sleep(0.2)
    assert not any(task.done() for task in waiting)
    freed.set()
    await asyncio.wait_for(asyncio.gather(holding, *waiting), timeout=0.8)
    await asyncio.gather(*busy)


async def test_one_in_use_is_not_kept_when_all_are_dropped(database: Database) -> None:
    async with database.direct() as driver:
        before = await driver.fetchval("select pg_backend_pid()")
        database.drop_idle()
    assert await backend(database) != before


async def test_none_is_kept_once_the_database_is_closed(database: Database) -> None:
    async with database.direct() as driver:
        await database.close()
        assert await driver.fetchval("select 1") == 1
    assert driver.is_closed()
