"""Alembic's environment: migrates over a connection that the caller passes, or DLR_DATABASE_URL."""

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


async def run_standalone() -> None:
    database = Database(
        os.environ.get("DLR_DATABASE_URL", "sqlite:///dlr.db"),
        pooler=os.environ.get("DLR_DATABASE_POOLER") or None,
    )
    async with database.write() as connection:
        await connection.run_sync(run)
    await database.close()


passed = context.config.attributes.get("connection")
if passed is not None:
    run(passed)
else:
    asyncio.run(run_standalone())
