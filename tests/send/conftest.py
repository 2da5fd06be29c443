from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.iovox.scripted import ACCEPTED, Scripted, http, scripted
from tests.send.world import Iovox, Service, World
from tests.support.fixtures import BOTH, shared_database_of


@pytest_asyncio.fixture(loop_scope="module")
async def world(database_url: str) -> AsyncIterator[World]:
    """On SQLite and on PostgreSQL."""
    async with AsyncExitStack() as stack:
        yield World(database_url, stack)


@pytest_asyncio.fixture(loop_scope="module")
async def postgres_world(postgres_url: str) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(postgres_url, stack)


@pytest_asyncio.fixture(loop_scope="module")
async def sqlite_world(sqlite_url: str) -> AsyncIterator[World]:
    """For tests that do not depend on the database."""
    async with AsyncExitStack() as stack:
        yield World(sqlite_url, stack)


@pytest.fixture(scope="module", params=BOTH)
def script_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A database of its own: replicas that share one would send each other's messages."""
    yield from shared_database_of(request, tmp_path_factory)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(shared_url: str) -> AsyncIterator[tuple[Service, Iovox]]:
    """A service and its iovox for a whole module: starting them takes longer than most tests.

    A module that uses it sets ``pytestmark = pytest.mark.asyncio(loop_scope="module")``.
    """
    async with AsyncExitStack() as stack:
        world = World(shared_url, stack)
        iovox = await world.iovox()
        yield await world.service(iovox), iovox


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_script(script_url: str) -> AsyncIterator[tuple[Service, Scripted]]:
    """A service whose iovox sends the bytes that a test sets."""
    async with AsyncExitStack() as stack:
        iovox = await stack.enter_async_context(scripted())
        yield await World(script_url, stack).service(iovox.url), iovox


@pytest_asyncio.fixture(loop_scope="module")
async def script(shared_script: tuple[Service, Scripted]) -> Scripted:
    _, iovox = shared_script
    iovox.answer = http(201, ACCEPTED)
    iovox.heads.clear()
    iovox.bodies.clear()
    return iovox


@pytest_asyncio.fixture(loop_scope="module")
async def scripted_service(shared_script: tuple[Service, Scripted], script: Scripted) -> Service:
    service, _ = shared_script
    breaker = service.runtime.submitter._breaker  # the tests' faults come in a row
    breaker.record_success()
    breaker.record_drained()
    service.app = f"app-{uuid4().hex[:8]}"
    service.client.headers.update(await service.key(service.app))
    return service


@pytest_asyncio.fixture(loop_scope="module")
async def iovox(shared: tuple[Service, Iovox]) -> Iovox:
    """The shared simulator, reset."""
    _, iovox = shared
    await iovox.reset()
    return iovox


@pytest_asyncio.fixture(loop_scope="module")
async def service(shared: tuple[Service, Iovox], iovox: Iovox) -> Service:
    """The shared service, with a key of an app of the test's own."""
    service, _ = shared
    service.app = f"app-{uuid4().hex[:8]}"
    service.client.headers.update(await service.key(service.app))
    return service
