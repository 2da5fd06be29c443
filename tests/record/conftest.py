from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from app.store import permission
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


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is a matter of seconds between machines is none in one event loop."""
    monkeypatch.setattr(permission, "SETTLING", timedelta(0))
    monkeypatch.setattr(permission, "FRESH", 60.0)
