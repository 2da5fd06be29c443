from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.lookup.world import World, living


@pytest_asyncio.fixture(loop_scope="module")
async def own_world(database_url: str) -> AsyncIterator[World]:
    """A test's own, on SQLite and on PostgreSQL."""
    async with living(database_url) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(shared_url: str) -> AsyncIterator[World]:
    """One for a whole module, on SQLite and on PostgreSQL: starting it takes longer than a test.

    Who uses this or the other says ``pytestmark = pytest.mark.asyncio(loop_scope="module")``.
    """
    async with living(shared_url) as world:
        yield world
