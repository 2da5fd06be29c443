from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio

from app.store.engine import Database
from app.store.tables import metadata
from tests.record.evidence.world import World
from tests.store.conftest import shared_database

__all__ = ["shared_database"]


@pytest_asyncio.fixture(loop_scope="module")
async def database(shared_database: Database) -> Database:
    """Migrated and empty, once on SQLite and once on PostgreSQL, as in ``tests.store``."""
    async with shared_database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            await connection.execute(table.delete())
    return shared_database


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path / "disk")
