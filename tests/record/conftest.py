from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.record.rewinding import PostgresRewinder, Rewinder, SqliteRewinder
from tests.send.world import World
from tests.support.postgresql import PostgresServer


@pytest.fixture
def rewinder(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Rewinder:
    """Of the database of ``database_url``."""
    if database_url.startswith("sqlite"):
        return SqliteRewinder(database_url, tmp_path)
    server = request.getfixturevalue("postgres_server")
    if not isinstance(server, PostgresServer):
        pytest.skip("sets tables back by psql, and TEST_DATABASE_URL names somebody else's server")
    return PostgresRewinder(server, database_url)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(database_url, stack)
