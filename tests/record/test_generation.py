"""The generation of a PostgreSQL: it changes with a restart, also where only a part may be read."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from app.store.engine import Database
from tests.support.postgresql import PostgresServer

pytestmark = pytest.mark.postgresql


async def generation(url: str) -> tuple[str, str]:
    """And by what expression it was read."""
    database = Database(url)
    try:
        async with database.write() as connection:
            return await database.generation.read(connection), database.generation.sql
    finally:
        await database.close()


async def test_it_changes_with_a_restart(own_postgres: PostgresServer, postgres_url: str) -> None:
    before, _ = await generation(postgres_url)
    assert (await generation(postgres_url))[0] == before
    own_postgres.restart()
    after, _ = await generation(postgres_url)
    system, timeline, start = before.split("/")
    assert after.split("/")[:2] == [system, timeline]
    assert after.split("/")[2] > start


async def test_who_may_not_see_the_timeline_sees_the_start(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    name = urlsplit(postgres_url).path.removeprefix("/")
    postgres_server.execute("drop role if exists plain; create role plain login")
    for privilege in ("pg_control_system()", "pg_walfile_name(pg_lsn)"):
        postgres_server.execute(
            f"revoke execute on function {privilege} from public", database=name
        )
    plain = postgres_url.replace("postgres@", "plain@")
    found, sql = await generation(plain)
    assert "/" not in found
    assert float(found) > 1e9
    assert "pg_control_system" not in sql
