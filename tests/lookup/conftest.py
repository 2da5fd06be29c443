from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tests.lookup.world import World, living
from tests.support.fixtures import BOTH, Server


@pytest_asyncio.fixture(loop_scope="module")
async def own_world(database_url: str) -> AsyncIterator[World]:
    """A test's own, on SQLite and on PostgreSQL."""
    async with living(database_url) as world:
        yield world


@pytest.fixture(scope="module", params=BOTH)
def shared_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A migrated database for a whole module."""
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("shared")
        shutil.copytree(request.getfixturevalue("sqlite_template"), folder, dirs_exist_ok=True)
        yield f"sqlite:///{folder / 'dlr.db'}"
        return
    server: Server = request.getfixturevalue("postgres_server")
    url = server.create_database(template=request.getfixturevalue("postgres_template"))
    yield url
    server.drop_database(urlsplit(url).path.removeprefix("/"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(shared_url: str) -> AsyncIterator[World]:
    """One for a whole module, on SQLite and on PostgreSQL: starting it takes longer than a test.

    Who uses this or the other says ``pytestmark = pytest.mark.asyncio(loop_scope="module")``.
    """
    async with living(shared_url) as world:
        yield world
