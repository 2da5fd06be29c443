from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.fixtures import BOTH, Server

from .receiver import Json, Receiver, receiving
from .world import World, serving


@pytest.fixture(scope="module", params=BOTH)
def shared_database_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """One database for all tests of a module, which keep apart by the names of their apps."""
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("notify")
        template: Path = request.getfixturevalue("sqlite_template")
        shutil.copytree(template, folder, dirs_exist_ok=True)
        yield f"sqlite:///{folder / 'dlr.db'}"
        return
    server: Server = request.getfixturevalue("postgres_server")
    url = server.create_database(template=request.getfixturevalue("postgres_template"))
    yield url
    server.drop_database(url.rpartition("/")[2])


@pytest.fixture(scope="module")
def settings() -> Json:
    """What the module's service is started with; to be overridden."""
    return {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(shared_database_url: str, settings: Json) -> AsyncIterator[World]:
    """One service for all tests of a module."""
    async with serving(shared_database_url, **settings) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def world(service: World) -> AsyncIterator[World]:
    """The module's service, with names of apps that no other test has."""
    mine = service.with_own_names()
    yield mine
    await mine.forget_webhooks()


@pytest_asyncio.fixture(loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of webhooks that takes everything."""
    async with receiving() as started:
        yield started
