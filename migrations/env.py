"""Runs the migrations over the connection that the service hands in, or DLR_DATABASE_URL's."""

from __future__ import annotations

import asyncio
import os

from alembic import context
from sqlalchemy import Connection

from app.store.engine import Database
from app.store.tables import metadata


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()


async def run_by_hand() -> None:
    database = Database(os.environ.get("DLR_DATABASE_URL", "sqlite:///dlr.db"))
    async with database.write() as connection:
        await connection.run_sync(run)
    await database.close()


handed_in = context.config.attributes.get("connection")
if handed_in is not None:
    run(handed_in)
else:
    asyncio.run(run_by_hand())
