"""The database's schema: its version, the version needed, and the migration to that."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from app.errors import SchemaBehind
from app.store.engine import Database

_MIGRATIONS = Path(__file__).parents[2] / "migrations"
# An advisory lock: replicas that start together would otherwise create the same tables.
_MIGRATION_LOCK = 7000


async def migrate(database: Database) -> None:
    """Bring the schema up to date. Safe to run from several processes at once."""
    async with database.write() as connection:
        await connection.run_sync(_upgrade)


async def require_current(database: Database) -> None:
    """Raises SchemaBehind unless the schema is the one that is needed, and StoreUnavailable."""
    async with database.read() as connection:
        found = await connection.run_sync(_current)
    needed = ScriptDirectory.from_config(_config()).get_current_head()
    if found != needed:
        raise SchemaBehind(
            f"The database's schema is at {found or 'nothing'}, and this version needs {needed}. "
            "Run `dlr migrate` with the same DLR_DATABASE_URL, then start again."
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"select pg_advisory_xact_lock({_MIGRATION_LOCK})")
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
