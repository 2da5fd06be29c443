"""Alembic's environment: migrates over a connection that the caller passes, or DLR_DATABASE_URL.

A migration is a transaction of its own. In the same transaction rows are written by which older
releases know whether they can use the schema (`app.store.releases`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from app.store.engine import Database
from app.store.releases import record, revisions
from app.store.tables import metadata


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transaction_per_migration=True,
        on_version_apply=write_releases,  # type: ignore[arg-type]
        # In a transaction of the caller's nothing can be committed in between.
        dlr_may_commit=not connection.in_transaction(),  # online.MAY_COMMIT
    )
    with context.begin_transaction():
        context.run_migrations()


def write_releases(*, ctx: MigrationContext, heads: Collection[Any], **_: Any) -> None:
    """Record the schema's revision, in the transaction of the migration that has just run."""
    if ctx.connection is not None:
        record(ctx.connection, revisions(context.script), next(iter(heads), None))


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
