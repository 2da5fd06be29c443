"""A database that tests share: to make one for each costs more than most of them do."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, closing

from app.store.engine import Database
from app.store.tables import metadata


async def empty(database: Database, *, but: Collection[str] = ()) -> None:
    """Delete all rows of all tables but these, in one go: so many statements take longer."""
    tables = [table.name for table in reversed(metadata.sorted_tables) if table.name not in but]
    statements = "; ".join(f"delete from {table}" for table in tables)
    if database.file is None:
        async with database.direct() as connection:
            await connection.execute(statements)
    else:
        with closing(sqlite3.connect(database.file, timeout=30)) as there:
            there.executescript(f"begin immediate; {statements}; commit")


@asynccontextmanager
async def emptied(url: str) -> AsyncIterator[Database]:
    """Opened, without what the tests before have left in it."""
    database = Database(url)
    await empty(database)
    yield database
    await database.close()
