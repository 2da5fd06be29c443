from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.lookup.world import World, living


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(shared_url: str) -> AsyncIterator[World]:
    """A whole service but for its socket, for a module: on SQLite and on PostgreSQL."""
    async with living(shared_url, webhook_allowed_networks="127.0.0.0/8") as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def own_world(database_url: str) -> AsyncIterator[World]:
    """A test's own."""
    async with living(database_url) as world:
        yield world
