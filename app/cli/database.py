"""The commands that work on the database itself, not through the API.

They build their own connection: `runtime` would load the whole service for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from app.errors import ConfigurationError
from app.settings import Settings, report
from app.store.engine import Database
from app.store.schema import migrate, require_current

Answer = TypeVar("Answer")


def with_database(
    settings: Settings,
    work: Callable[[Database], Coroutine[Any, Any, Answer]],
    *,
    is_migration: bool = False,
) -> Answer:
    """Run something against the database; SQLite is migrated first, having no one else to do it.

    Raises ConfigurationError for a URL that is none, SchemaBehind, StoreUnavailable, StoreRefused.
    """

    async def run() -> Answer:
        database = _open(settings)
        try:
            if database.is_sqlite:
                await migrate(database)
            elif not is_migration:
                await require_current(database)
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def _open(settings: Settings) -> Database:
    try:
        return Database(settings.database_url)
    except ValueError as error:
        raise ConfigurationError(report({"database_url": str(error)})) from None
