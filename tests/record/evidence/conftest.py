from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio

from app.store.engine import Database
from tests.record.evidence.world import World
from tests.store.conftest import shared_database
from tests.store.emptied import empty

__all__ = ["shared_database"]


@pytest_asyncio.fixture(loop_scope="module")
async def database(shared_database: Database) -> Database:
    """Migrated and empty, once on SQLite and once on PostgreSQL, as in ``tests.store``."""
    await empty(shared_database)
    return shared_database


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path / "disk")
