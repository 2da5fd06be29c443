"""The commands of docs/operations.md for failover and poolers, run as they stand there."""

from __future__ import annotations

import asyncio
import re
from configparser import ConfigParser

import pytest

from app.store.engine import Database
from app.store.schema import migrate, require_current
from app.store.standbys import asynchronous_standbys
from app.store.writable import require_writable
from tests.support.pgbouncer import PgBouncer
from tests.support.postgresql import PostgresServer
from tests.support.process import PROJECT
from tests.support.standby import Cluster

pytestmark = pytest.mark.postgresql


def blocks(heading: str, language: str) -> list[str]:
    """The blocks in this language under a heading of docs/operations.md."""
    text = (PROJECT / "docs" / "operations.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def run(server: PostgresServer, block: str) -> list[str]:
    return [server.execute(each) for each in block.strip().split(";") if each.strip()]


async def test_failing_over() -> None:
    synchronous, promote = blocks("Failover", "sql")
    both = Cluster()
    try:
        await asyncio.to_thread(both.start, synchronous=False)
        url = both.primary.create_database("dlr")
        database = Database(url)
        await migrate(database)
        assert await asynchronous_standbys(database)
        run(both.primary, synchronous)
        both.wait_until_followed(synchronous=True)
        assert run(both.primary, synchronous)[-1] == "standby|sync"
        assert await asynchronous_standbys(database) is None
        await database.close()
        both.primary.kill()
        assert run(both.standby, promote) == ["t"]
        either = Database(both.url("dlr", words=""))
        await require_current(either)
        await require_writable(either)
        await either.close()
    finally:
        both.close()


async def test_a_pooler(own_postgres: PostgresServer, empty_postgres_url: str) -> None:
    (ini,) = blocks("A pooler", "ini")
    (role,) = blocks("A pooler", "sql")
    parser = ConfigParser()
    parser.read_string(ini)
    settings = dict(parser["pgbouncer"])
    assert settings.pop("pool_mode") == "transaction"
    own_postgres.execute("create role dlr login superuser")
    run(own_postgres, role)
    own = empty_postgres_url.replace("postgres@", "dlr@")
    with PgBouncer(own, **settings) as pooler:
        database = Database(pooler.through(own), pooler="transaction")
        await migrate(database)
        await require_current(database)
        async with database.direct() as connection:
            assert await connection.fetchval("show jit") == "off"
            assert await connection.fetchval("select current_user") == "dlr"
        await database.close()
