from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest_asyncio

from tests.send.world import World


@pytest_asyncio.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """On SQLite and on PostgreSQL."""
    async with AsyncExitStack() as stack:
        yield World(database_url, stack)


@pytest_asyncio.fixture
async def sqlite_world(sqlite_url: str) -> AsyncIterator[World]:
    """For tests that do not depend on the database."""
    async with AsyncExitStack() as stack:
        yield World(sqlite_url, stack)
