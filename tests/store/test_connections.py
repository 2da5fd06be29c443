"""Both pools on a network that fails: dead links, closed ones, and a client that has gone."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import pytest_asyncio
from sqlalchemy import text

from app.errors import StoreRefused, StoreUnavailable
from app.store import engine
from app.store.connections import asyncpg_pool, connect, sqlalchemy_engines
from app.store.engine import Database
from tests.support.proxy import Mode, TcpProxy

pytestmark = pytest.mark.postgresql

EACH = 3
"""Connections of each of the two pools."""

Run = Callable[[Database, str], Awaitable[object]]


async def by_sqlalchemy(database: Database, statement: str) -> object:
    async with database.write() as connection:
        return (await connection.exec_driver_sql(statement)).scalar()


async def by_asyncpg(database: Database, statement: str) -> object:
    async with database.direct() as connection:
        return await connection.fetchval(statement)


both = pytest.mark.parametrize("run", [by_sqlalchemy, by_asyncpg])


async def backend(database: Database, run: Run = by_asyncpg) -> object:
    return await run(database, "select pg_backend_pid()")


async def fill(database: Database) -> None:
    """Have every connection made that either pool may have."""
    runs: list[Awaitable[object]] = []
    for run in (by_sqlalchemy, by_asyncpg):
        runs += [run(database, "select pg_sleep(0.1)") for _ in range(EACH)]
    await asyncio.gather(*runs)


@pytest_asyncio.fixture
async def proxy(shared_postgres_url: str) -> AsyncIterator[TcpProxy]:
    parts = urlsplit(shared_postgres_url)
    async with TcpProxy(parts.hostname or "", parts.port or 5432) as proxy:
        yield proxy


@pytest.fixture
def url(shared_postgres_url: str, proxy: TcpProxy) -> str:
    """The database by way of the proxy."""
    parts = urlsplit(shared_postgres_url)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{proxy.host}:{proxy.port}"))


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database(url, pool_size=2 * EACH)
    await fill(database)
    yield database
    await database.close()


async def test_building_it_connects_to_nothing(url: str, proxy: TcpProxy) -> None:
    database = Database(url)
    await asyncio.sleep(0.1)
    assert proxy.accepted == 0
    await database.close()
    assert proxy.accepted == 0


@both
async def test_both_ends_give_up_a_dead_link(database: Database, run: Run) -> None:
    wanted = {
        "client_connection_check_interval": "15s",
        "idle_in_transaction_session_timeout": "15s",
        "tcp_keepalives_idle": "5",
        "tcp_user_timeout": "15000",
    }
    found = {name: await run(database, f"show {name}") for name in wanted}
    assert found == wanted


async def test_our_end_of_every_link_is_watched(database: Database) -> None:
    async with database.direct() as connection, database.read() as session:
        raw: Any = (await session.get_raw_connection()).driver_connection
        for each in (connection, raw):
            link = each._transport.get_extra_info("socket")
            assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000


@both
@pytest.mark.parametrize(
    ("configured", "used"),
    [("off", "on"), ("on", "on"), ("local", "local"), ("remote_apply", "remote_apply")],
)
async def test_a_commit_is_on_disk_when_it_is_answered(
    shared_postgres_url: str, configured: str, used: str, run: Run
) -> None:
    name = urlsplit(shared_postgres_url).path.removeprefix("/")
    database = Database(shared_postgres_url)
    setting = f'alter database "{name}" {{}} synchronous_commit'
    await by_asyncpg(database, setting.format("set") + f" = {configured}")
    await database.close()
    assert await run(database, "show synchronous_commit") == used
    await by_asyncpg(database, setting.format("reset"))
    await database.close()


async def test_the_pools_together_have_no_more_connections_than_they_may(postgres_url: str) -> None:
    database = Database(postgres_url, pool_size=2 * EACH)
    runs = [run(database, "select pg_sleep(0.05)") for run in (by_sqlalchemy, by_asyncpg) * 10]
    await asyncio.gather(*runs)
    count = "select count(*) from pg_stat_activity where datname = current_database()"
    assert await by_asyncpg(database, f"{count} and application_name = 'iovox-receipts'") == 6
    await database.close()


async def test_first_uses_at_one_instant_share_a_pool(url: str) -> None:
    database = Database(url, pool_size=2 * EACH)
    found = await asyncio.gather(*(backend(database) for _ in range(20)))
    assert len(set(found)) <= EACH
    await database.close()


async def test_the_connection_used_last_is_used_next(database: Database) -> None:
    assert len({await backend(database) for _ in range(5)}) == 1


async def test_a_release_sends_nothing(database: Database) -> None:
    """asyncpg would send its reset query, a round trip for every statement."""
    pid = await backend(database)
    last = f"select query from pg_stat_activity where pid = {pid}"
    assert await by_sqlalchemy(database, last) == "select pg_backend_pid()"


async def test_an_idle_connection_is_closed_in_time(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncpg_pool, "IDLE_LIFETIME", 0.1)
    database = Database(url)
    before = await backend(database)
    await asyncio.sleep(0.3)
    assert await backend(database) != before
    await database.close()


@both
async def test_connections_that_were_closed_while_idle_fail_nobody(
    database: Database, proxy: TcpProxy, run: Run
) -> None:
    await proxy.cut()
    await asyncio.sleep(0.1)
    assert await asyncio.gather(*(run(database, "select 1") for _ in range(EACH))) == [1] * EACH


@both
async def test_a_silent_link_is_left_behind_at_once(
    database: Database, proxy: TcpProxy, run: Run
) -> None:
    await proxy.switch(Mode.BLACKHOLE)
    stuck = [asyncio.ensure_future(run(database, "select 1")) for _ in range(EACH - 1)]
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
    assert await asyncio.gather(*(run(database, "select 1") for _ in range(EACH))) == [1] * EACH


@both
async def test_an_idle_connection_on_a_silent_link_is_not_used_after_a_drop(
    database: Database, proxy: TcpProxy, run: Run
) -> None:
    before = await backend(database, run)
    await proxy.switch(Mode.BLACKHOLE)
    database.drop_idle()
    proxy.mode = Mode.PASS
    async with asyncio.timeout(2):
        assert await backend(database, run) != before


async def test_what_takes_too_long_on_a_silent_link_ends_in_time(
    database: Database, proxy: TcpProxy
) -> None:
    before = await backend(database)
    await proxy.switch(Mode.BLACKHOLE)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        async with database.direct(patience=0.3) as connection:
            await connection.execute("select 1")
    assert time.monotonic() - began < 1
    proxy.mode = Mode.PASS
    database.drop_idle()
    assert await backend(database) != before


@both
async def test_closing_waits_for_no_goodbye(database: Database, proxy: TcpProxy, run: Run) -> None:
    await proxy.switch(Mode.BLACKHOLE)
    stuck = asyncio.ensure_future(run(database, "select 1"))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await database.close()
    assert time.monotonic() - began < 1
    stuck.cancel()
    await asyncio.wait({stuck}, timeout=10)
    assert stuck.done()


@both
async def test_what_is_in_use_is_not_cut(database: Database, run: Run) -> None:
    busy = asyncio.ensure_future(run(database, "select 7 from pg_sleep(0.3)"))
    await asyncio.sleep(0.1)
    database.drop_idle()
    assert await busy == 7


@both
async def test_an_outage_says_unavailable_and_is_over_when_it_is_over(
    database: Database, proxy: TcpProxy, run: Run
) -> None:
    await proxy.switch(Mode.REFUSE)
    with pytest.raises(StoreUnavailable):
        await run(database, "select 1")
    await proxy.switch(Mode.PASS)
    assert await run(database, "select 1") == 1


@both
async def test_a_server_that_does_not_answer_a_connection_is_away(
    url: str, proxy: TcpProxy, run: Run
) -> None:
    await proxy.switch(Mode.BLACKHOLE)
    database = Database(url, connect_timeout=0.3)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        await run(database, "select 1")
    assert time.monotonic() - began < 2
    assert "in use" not in caught.value.detail
    await database.close()


@both
async def test_a_link_that_falls_silent_while_a_session_is_prepared(
    url: str, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setattr(connect, "_COMMIT_TO_DISK", "select pg_sleep(30)")
    database = Database(url, connect_timeout=0.5)
    connecting = asyncio.ensure_future(run(database, "select 1"))
    await asyncio.sleep(0.3)
    proxy.mode = Mode.BLACKHOLE
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(connecting, timeout=2)
    await database.close()


async def test_a_connection_that_failed_is_not_used_again(database: Database) -> None:
    before = await backend(database)
    with pytest.raises(StoreRefused):
        await by_asyncpg(database, "select 1 / 0")
    assert await backend(database) != before


async def test_a_connection_that_was_cancelled_is_not_used_again(database: Database) -> None:
    before = await backend(database)
    busy = asyncio.create_task(backend_after(database, 5))
    await asyncio.sleep(0.1)
    busy.cancel()
    await asyncio.wait({busy}, timeout=2)
    assert busy.cancelled()
    assert await backend(database) != before


async def backend_after(database: Database, seconds: float) -> object:
    return await by_asyncpg(database, f"select pg_backend_pid() from pg_sleep({seconds})")


async def test_a_transaction_that_is_cancelled_while_nothing_can_be_sent(
    database: Database, proxy: TcpProxy
) -> None:
    """asyncpg ends the connection by itself then, since it cannot send its request to cancel."""

    async def transact() -> None:
        async with database.direct() as connection, connection.transaction():
            await connection.execute("select pg_sleep(5)")

    busy = asyncio.create_task(transact())
    await asyncio.sleep(0.1)
    await proxy._stop_listening()
    proxy.mode = Mode.BLACKHOLE
    busy.cancel()
    with pytest.raises(StoreUnavailable, match="connection is closed"):
        await asyncio.wait_for(busy, timeout=5)
    await proxy.switch(Mode.PASS)
    assert await backend(database)


async def test_a_connection_that_the_server_ends_under_a_statement(database: Database) -> None:
    pid = await backend(database)
    busy = asyncio.create_task(backend_after(database, 5))
    await asyncio.sleep(0.1)
    await by_sqlalchemy(database, f"select pg_terminate_backend({pid})")
    with pytest.raises(StoreUnavailable):
        await busy
    assert await asyncio.gather(*(backend_after(database, 0.1) for _ in range(EACH)))


@both
async def test_who_waits_too_long_for_a_connection_is_told_unavailable(
    url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pool in (asyncpg_pool, sqlalchemy_engines):
        monkeypatch.setattr(pool, "ACQUIRE_TIMEOUT", 0.2)
    database = Database(url, pool_size=2)
    busy = asyncio.ensure_future(run(database, "select pg_sleep(1)"))
    await asyncio.sleep(0.1)
    with pytest.raises(StoreUnavailable, match="every connection is in use"):
        await run(database, "select 1")
    await busy
    assert await run(database, "select 1") == 1
    await database.close()


async def test_who_waits_gets_what_comes_free(database: Database) -> None:
    """And a waiter that gave up takes none away from those behind it."""
    freed = asyncio.Event()

    async def hold() -> None:
        async with database.direct():
            await freed.wait()

    holding = [asyncio.create_task(hold()) for _ in range(EACH)]
    await asyncio.sleep(0.1)
    waiting = [asyncio.create_task(backend(database)) for _ in range(5)]
    await asyncio.sleep(0.1)
    assert not any(task.done() for task in waiting)
    waiting.pop(0).cancel()
    freed.set()
    found = await asyncio.wait_for(asyncio.gather(*holding, *waiting), timeout=1)
    assert all(found[EACH:])


async def test_the_ways_in_do_not_wait_for_each_other(database: Database) -> None:
    """What callers of the API have under way by SQLAlchemy holds up no receipt, and so on."""
    for busy, other in ((by_sqlalchemy, by_asyncpg), (by_asyncpg, by_sqlalchemy)):
        all_busy = [
            asyncio.ensure_future(busy(database, "select pg_sleep(0.5)")) for _ in range(EACH + 1)
        ]
        await asyncio.sleep(0.1)
        assert await asyncio.wait_for(other(database, "select 1"), timeout=0.3) == 1
        await asyncio.gather(*all_busy)


async def test_one_in_use_is_not_used_again_when_all_are_dropped(database: Database) -> None:
    async with database.direct() as connection:
        before = await connection.fetchval("select pg_backend_pid()")
        database.drop_idle()
    assert await backend(database) != before


async def test_a_waiter_does_not_get_one_that_was_dropped(database: Database) -> None:
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(database.direct()) for _ in range(EACH)]
        before = {await each.fetchval("select pg_backend_pid()") for each in held}
        waiting = asyncio.create_task(backend(database))
        await asyncio.sleep(0.1)
        database.drop_idle()
    assert await waiting not in before


async def test_one_that_is_being_released_is_dropped_with_the_idle(database: Database) -> None:
    async with database.direct() as connection:
        before = await connection.fetchval("select pg_backend_pid()")
        asyncio.get_running_loop().call_soon(database.drop_idle)
    assert await backend(database) != before


async def test_one_that_is_being_made_is_dropped_with_the_idle(url: str, proxy: TcpProxy) -> None:
    database = Database(url)
    await proxy.switch(Mode.PASS, delay=0.05)
    making = asyncio.create_task(backend(database))
    await asyncio.sleep(0.1)
    database.drop_idle()
    before = await making
    assert await backend(database) != before
    await database.close()


async def test_none_is_kept_once_the_database_is_closed(database: Database) -> None:
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(database.direct())
        raw = connection._con
        await database.close()
        assert await connection.fetchval("select 1") == 1
    assert raw.is_closed()


@both
async def test_a_closed_database_opens_again_when_it_is_used(database: Database, run: Run) -> None:
    before = await backend(database, run)
    await database.close()
    assert await backend(database, run) != before


def test_a_closed_database_can_be_used_on_another_event_loop(shared_postgres_url: str) -> None:
    database = Database(shared_postgres_url)

    async def use() -> object:
        try:
            return await by_asyncpg(database, "select 1")
        finally:
            await database.close()

    assert [asyncio.run(use()), asyncio.run(use())] == [1, 1]


async def test_listening_needs_no_connection_of_the_pools(database: Database) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    busy = [
        asyncio.ensure_future(run(database, "select pg_sleep(1)"))
        for run in (by_sqlalchemy, by_asyncpg) * EACH
    ]
    await asyncio.sleep(0.1)
    async with database.listening("topics", lambda *said: heard.put_nowait(said[-1])) as notify:
        await notify("news")
        assert await asyncio.wait_for(heard.get(), timeout=0.5) == "news"
    await asyncio.gather(*busy)


async def test_a_listening_connection_that_is_lost_is_noticed_by_the_next_word(
    database: Database, proxy: TcpProxy
) -> None:
    async def lose_it_half_way() -> None:
        async with database.listening("topics", lambda *_: None) as notify:
            await proxy.cut()
            await asyncio.sleep(0.1)
            await notify("news")

    with pytest.raises(StoreUnavailable):
        await lose_it_half_way()


@both
async def test_what_waits_elsewhere_is_broken_off_after_a_failover(
    database: Database, proxy: TcpProxy, run: Run
) -> None:
    """And what is on the server that takes writes now is left alone, whatever it is doing."""
    waiting = asyncio.ensure_future(run(database, "select pg_sleep(5)"))
    await asyncio.sleep(0.1)
    database.drop_elsewhere((proxy.host, proxy.port))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    database.drop_elsewhere(("192.0.2.1", 5432))
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(waiting, timeout=1)
    assert await run(database, "select 1") == 1


async def test_a_notification_to_a_silent_server_is_bounded(
    database: Database, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "NOTIFY_TIMEOUT", 0.2)

    async def tell() -> None:
        async with database.listening("topics", lambda *_: None) as notify:
            await proxy.switch(Mode.BLACKHOLE)
            await notify("news")

    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await tell()
    assert time.monotonic() - began < 5


async def test_a_read_that_is_cancelled_again_and_again_leaves_no_task(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(sqlite_url)

    async def read() -> None:
        async with database.read() as connection:
            await connection.execute(text("select count(*) from messages a, messages b"))

    for turns in range(12):
        reading = asyncio.create_task(read())
        await asyncio.sleep(0.0005 * turns)
        while not reading.done():  # as anyio's cancel scopes do
            reading.cancel()
            await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [each for each in others if "close" in repr(each)]
    gc.collect()
    assert "destroyed" not in caplog.text
    await database.close()
