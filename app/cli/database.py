"""The commands that work on the database itself, not through the API.

They build their own connection: `runtime` would load the whole service for it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from app.cli.output import remark
from app.errors import ConfigurationError
from app.settings import Settings, report, unknown_variables, variable
from app.store.engine import Database
from app.store.schema import migrate, require_current

Answer = TypeVar("Answer")


def with_database(
    settings: Settings,
    work: Callable[[Database], Coroutine[Any, Any, Answer]],
    *,
    is_migration: bool = False,
    makes_file: bool = False,
) -> Answer:
    """Run ``work`` on the database. SQLite is migrated first, as nothing else would do it.

    ``is_migration``: ``work`` looks at the schema by itself. ``makes_file``: an SQLite file that
    does not exist is made, which is said; it is an error otherwise, as an empty database in place
    of the one that a forgotten setting names would answer that there is nothing.

    Raises ConfigurationError for a URL that is none, SchemaBehind, StoreUnavailable (of which
    SchemaUnusable is one), StoreRefused.
    """

    for name in unknown_variables(os.environ):
        remark(f"Warning: {name} is not known and has no effect.")

    async def run() -> Answer:
        database = _open(settings)
        _tell_of_new_file(database, may_make=makes_file)
        try:
            if not is_migration:
                await (migrate if database.is_sqlite else require_current)(database)
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def _open(settings: Settings) -> Database:
    try:
        return Database(settings.database_url, pooler=settings.database_pooler)
    except ValueError as error:
        raise ConfigurationError(report({"database_url": str(error)})) from None


def _tell_of_new_file(database: Database, *, may_make: bool) -> None:
    if database.file is None or database.file.exists():
        return
    name = variable("database_url")
    by = f"{name} names it" if os.environ.get(name) else f"{name} is not set: this is its default"
    if not may_make:
        raise ConfigurationError(f"There is no database {_shown(database.file)}; {by}.")
    remark(f"Made a new SQLite database, {_shown(database.file)}; {by}.")


def _shown(file: Path) -> str:
    return str(file.absolute())
