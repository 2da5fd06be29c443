"""The migrations make what the tables say, on both databases, from several places at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, TextClause, inspect, text

from app.errors import SchemaBehind, SchemaUnusable, StoreUnavailable
from app.store.engine import Database
from app.store.schema import migrate, require_current
from app.store.tables import metadata
from tests.support.ports import free_port

MIGRATIONS = Path(__file__).parents[2] / "migrations"

# SQLAlchemy cannot read such an index back from SQLite; on PostgreSQL it is compared.
INDEXES_ON_EXPRESSIONS = [
    pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index"),
    pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based"),
]
pytestmark = INDEXES_ON_EXPRESSIONS


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator[Database]:
    opened = Database(empty_database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def migrated(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


def config(connection: Connection) -> Config:
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    made.attributes["connection"] = connection
    return made


async def tables_of(database: Database) -> set[str]:
    async with database.read() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def differences(database: Database) -> list[object]:
    def compare(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, metadata))

    async with database.read() as connection:
        return await connection.run_sync(compare)


async def test_the_migrations_make_exactly_the_declared_tables(empty: Database) -> None:
    await migrate(empty)
    assert await tables_of(empty) == {*metadata.tables, "alembic_version"}
    assert await differences(empty) == []


async def test_the_comparison_would_notice(migrated: Database) -> None:
    async with migrated.write() as connection:
        await connection.execute(text("drop index events_by_app"))
        await connection.execute(text("alter table deliveries add column odd integer"))
    assert {difference[0] for difference in await differences(migrated)} == {  # type: ignore[index]
        "add_index",
        "remove_column",
    }


async def test_indexes_have_the_declared_condition(migrated: Database) -> None:

    def conditions(connection: Connection) -> dict[str, bool]:
        found = inspect(connection)
        option = f"{connection.dialect.name}_where"
        return {
            str(index["name"]): option in index.get("dialect_options", {})
            for name in metadata.tables
            for index in found.get_indexes(name)
        }

    async with migrated.read() as connection:
        found = await connection.run_sync(conditions)
    for table in metadata.tables.values():
        for index in table.indexes:
            if migrated.is_sqlite and any(
                isinstance(each, TextClause) for each in index.expressions
            ):
                continue
            declared = index.dialect_options["sqlite"]["where"] is not None
            assert found[str(index.name)] is declared, index.name


async def test_down_to_nothing_and_up_again(migrated: Database) -> None:
    async with migrated.write() as connection:
        await connection.run_sync(lambda sync: command.downgrade(config(sync), "base"))
    assert await tables_of(migrated) == {"alembic_version"}
    with pytest.raises(SchemaBehind, match="dlr migrate"):
        await require_current(migrated)
    await migrate(migrated)
    await require_current(migrated)
    assert await differences(migrated) == []


async def test_a_second_time_changes_nothing(migrated: Database) -> None:
    await migrate(migrated)
    await require_current(migrated)


async def test_from_several_places_at_once(empty_database_url: str) -> None:
    replicas = [Database(empty_database_url) for _ in range(4)]
    try:
        await asyncio.gather(*(migrate(replica) for replica in replicas))
        for replica in replicas:
            await require_current(replica)
    finally:
        for replica in replicas:
            await replica.close()


async def test_an_empty_database_is_behind(empty: Database) -> None:
    with pytest.raises(SchemaBehind, match="at nothing") as caught:
        await require_current(empty)
    assert "Run `dlr migrate`" in caught.value.detail


async def test_a_database_of_another_version_is_not_taken(migrated: Database) -> None:
    async with migrated.write() as connection:
        await connection.execute(text("update alembic_version set version_num = '9999'"))
        await connection.execute(text("delete from schema_releases"))
    with pytest.raises(SchemaUnusable, match="9999"):
        await require_current(migrated)


async def test_a_database_that_is_away_is_not_behind() -> None:
    away = Database(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    with pytest.raises(StoreUnavailable):
        await require_current(away)
    await away.close()


def test_there_is_one_head() -> None:
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    assert len(ScriptDirectory.from_config(made).get_heads()) == 1
