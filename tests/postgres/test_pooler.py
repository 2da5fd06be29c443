"""A pooler is recognised, named, and, once DLR_DATABASE_POOLER says so, done justice."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from app.errors import StoreUnavailable, StoreUnsuitable
from app.store.engine import Database
from app.store.schema import migrate, require_current
from tests.cli.here import dlr
from tests.postgres.conftest import POOLER_IN_ENVIRONMENT
from tests.support.fixtures import Server
from tests.support.pgbouncer import STARTUP_PARAMETERS, PgBouncer

pytestmark = pytest.mark.postgresql

IGNORING = {"ignore_startup_parameters": STARTUP_PARAMETERS}
SERVES = {
    "DLR_PUBLIC_URL": "https://sms.example.com",
    "DLR_CALLBACK_URL_HEADERS": "X-Custom-Header: a-secret-of-the-tests",
    "DLR_IOVOX_USERNAME": "someone",
    "DLR_IOVOX_SECURE_KEY": "a-key",
}


@pytest.mark.parametrize(
    ("mode", "settings", "says"),
    [
        ("transaction", {}, "refuses the start-up parameter jit"),
        ("session", {}, "refuses the start-up parameter jit"),
        ("transaction", IGNORING, "gives each transaction another connection"),
        ("transaction", {**IGNORING, "default_pool_size": 1}, "another connection"),
        ("transaction", {**IGNORING, "server_round_robin": 1}, "another connection"),
        ("statement", IGNORING, "allows no transactions (pool_mode = statement)"),
        ("statement", {}, "refuses the start-up parameter jit"),
    ],
)
def test_a_start_is_refused_in_words_that_name_the_setting(
    postgres_url: str, tmp_path: Path, mode: str, settings: dict[str, object], says: str
) -> None:
    with PgBouncer(postgres_url, mode=mode, **settings) as pooler:
        places = {"DLR_SPOOL_DIR": str(tmp_path), "DLR_DATABASE_URL": pooler.through(postgres_url)}
        env = {**SERVES, **places}
        for words in (["migrate"], ["serve", "--port", "0"], ["worker"]):
            done = dlr(words, env)
            assert done.returncode == 2, done
            assert says in done.stderr
            assert "DLR_DATABASE_POOLER=transaction" in done.stderr
            assert "Traceback" not in done.stderr


async def test_a_busy_pooler_is_recognised_too(postgres_url: str) -> None:
    """Where others take the connections as they come free, one comparison may see nothing."""
    with PgBouncer(postgres_url, **IGNORING) as pooler:
        url = pooler.through(postgres_url)

        async def keep_busy() -> None:
            connection = await asyncpg.connect(url, statement_cache_size=0)
            try:
                while True:
                    await connection.execute("select pg_sleep(0.002)")
            finally:
                connection.terminate()

        others = [asyncio.create_task(keep_busy()) for _ in range(6)]
        await asyncio.sleep(0.1)
        for _ in range(5):
            database = Database(url)
            with pytest.raises(StoreUnsuitable, match="pool_mode = transaction"):
                await require_current(database)
            await database.close()
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def test_one_that_keeps_sessions_needs_no_setting(postgres_url: str) -> None:
    with PgBouncer(postgres_url, mode="session", **IGNORING) as pooler:
        database = Database(pooler.through(postgres_url))
        for _ in range(3):
            async with AsyncExitStack() as stack:
                for _ in range(3):
                    connection = await stack.enter_async_context(database.direct())
                    assert await connection.fetchval("select 1 + $1::int", 1) == 2
        async with database.listening("channel", lambda *_: None) as notify:
            await notify("news")
        await database.close()


async def test_one_without_a_connection_to_spare_hides_nothing_and_stops_nothing(
    postgres_url: str,
) -> None:
    """In session mode the second connection may have to wait for the first: that is no verdict."""
    with PgBouncer(postgres_url, mode="session", default_pool_size=1, **IGNORING) as pooler:
        database = Database(pooler.through(postgres_url), connect_timeout=0.3)
        async with database.direct() as connection:
            assert await connection.fetchval("select 1") == 1
        await database.close()


async def test_a_schema_is_made_through_a_pooler(
    postgres_server: Server, empty_postgres_url: str
) -> None:
    with PgBouncer(empty_postgres_url) as pooler:
        env = {**POOLER_IN_ENVIRONMENT, "DLR_DATABASE_URL": pooler.through(empty_postgres_url)}
        databases = [
            Database(pooler.through(empty_postgres_url), pooler="transaction") for _ in range(3)
        ]
        await asyncio.gather(*(migrate(database) for database in databases))
        for database in databases:
            await require_current(database)
            await database.close()
        done = await asyncio.to_thread(dlr, ["migrate"], env)
        assert (done.returncode, done.stderr) == (0, "")


async def test_nothing_is_left_behind_in_a_session(postgres_url: str) -> None:
    """One server connection for everybody: whatever stays behind, the next one finds."""
    with PgBouncer(postgres_url, default_pool_size=1) as pooler:
        url = pooler.through(postgres_url)
        stranger = await asyncpg.connect(url, statement_cache_size=0)
        before = await _session(stranger)
        database = Database(url, pooler="transaction")
        await migrate(database)
        await require_current(database)
        for _ in range(3):
            async with database.direct() as connection:
                await connection.fetch("select $1::uuid[], $2::timestamptz[]", [], [])
            async with database.write() as connection:
                await connection.exec_driver_sql("select 1")
        assert await _session(stranger) == before
        assert not database.can_listen
        await database.close()
        stranger.terminate()


async def test_a_commit_that_a_crash_could_lose_is_not_taken_for_one(
    postgres_server: Server, postgres_url: str
) -> None:
    """Behind a pooler the service cannot change it for its sessions, as it does elsewhere."""
    name = postgres_url.rpartition("/")[2]
    postgres_server.execute(f'alter database "{name}" set synchronous_commit = off')
    with PgBouncer(postgres_url) as pooler:
        database = Database(pooler.through(postgres_url), pooler="transaction")
        with pytest.raises(StoreUnsuitable, match="SET synchronous_commit = on"):
            await require_current(database)
        await database.close()


async def test_a_server_that_is_gone_behind_the_pooler_is_away(postgres_url: str) -> None:
    gone = postgres_url.rpartition("@")[0] + "@127.0.0.1:1/dlr"
    with PgBouncer(gone, server_login_retry=1) as pooler:
        database = Database(pooler.through(gone), pooler="transaction")
        with pytest.raises(StoreUnavailable) as caught:
            await require_current(database)
        assert not isinstance(caught.value, StoreUnsuitable)
        await database.close()


def test_a_word_without_effect_there_is_refused() -> None:
    with pytest.raises(ValueError, match="ALTER ROLE"):
        Database("postgresql://a@b/c?options=-c%20search_path%3Ddlr", pooler="transaction")


async def _session(connection: asyncpg.Connection) -> list[tuple[object, ...]]:
    return [
        tuple(row)
        for row in await connection.fetch(
            """
            select 'statement', name from pg_prepared_statements where name <> ''
            union all select 'channel', c from pg_listening_channels() c
            union all select name, setting from pg_settings
              where source = 'session' and name not in ('application_name', 'client_encoding')
            union all select 'lock', locktype from pg_locks
              where pid = pg_backend_pid() and locktype = 'advisory'
            union all select 'table', relname from pg_class where relpersistence = 't'
            order by 1, 2
            """
        )
    ]
