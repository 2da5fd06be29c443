from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

from app.store.engine import Database
from tests.receive.serving import CALLBACK_HEADERS, Service, serve
from tests.store.emptied import empty

OF_PROCESSES = {
    "incarnations", "processes", "operations", "process_reports", "alarms", "disks",
    "evidence_disks", "retention", "rollups", "rollup_hours", "rollup_counts",
}  # fmt: skip
"""Tables in which processes say now and then how they are."""


@pytest.fixture(scope="module")
def service(shared_url: str) -> Iterator[Service]:
    """A server on each kind of database, for a whole module: its tests use ids of their own."""
    yield from serving(shared_url)


def serving(url: str) -> Iterator[Service]:
    running = serve(url)
    try:
        yield running
    finally:
        running.process.close()


# The clients and the database live as long as the module's event loop: making them costs more than
# most tests do. Their tests say ``pytestmark = pytest.mark.asyncio(loop_scope="module")``.
@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def iovox(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Calls /dlr with today's secret."""
    async with service.client(CALLBACK_HEADERS) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stranger(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Calls without a secret."""
    async with service.client() as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_database(service: Service) -> AsyncIterator[Database]:
    opened = Database(service.database_url)
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="module")
async def database(shared_database: Database) -> Database:
    """The server's database, emptied; from outside, as an operator sees it."""
    await empty(shared_database, but=OF_PROCESSES)
    return shared_database
