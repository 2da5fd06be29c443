"""Bulk loading, tens of millions of rows in minutes: without indexes, which are built at the end,
and without WAL.

PostgreSQL writes no WAL for a table that is truncated and filled in one transaction under
`wal_level = minimal`, so the server is restarted with that, and with its own settings afterwards,
before anything is measured. The caller is the benchmark, whose tables are empty and whose database
nobody else uses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg

from tests.support.postgresql import PostgresServer

AT_ONCE = 2
"""Tables filled at a time."""
SESSION = """
set maintenance_work_mem = '1GB';
set synchronous_commit = off;
set jit = off;
set timezone = 'UTC'
"""
_UNLOGGED = {"wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "'16GB'"}

# What has to be put back, in this order: keys, then the other indexes, then what refers to keys.
_CONSTRAINTS = """
select 'alter table ' || conrelid::regclass || ' drop constraint ' || conname || ' cascade' away,
  'alter table ' || conrelid::regclass || ' add constraint ' || conname || ' '
    || pg_get_constraintdef(oid) back, contype = 'f' refers
from pg_constraint where conrelid = $1::text::regclass and contype in ('p', 'u', 'f')
order by contype <> 'f'
"""
_INDEXES = """
select 'drop index ' || indexrelid::regclass away, pg_get_indexdef(indexrelid) back
from pg_index where indrelid = $1::text::regclass
  and not exists (select from pg_constraint where conindid = indexrelid)
"""


@dataclass(frozen=True, slots=True)
class Filling:
    """The statements that fill one table, each in well under a minute."""

    table: str
    statements: Sequence[str]


def fill(
    postgres: PostgresServer, database: str, fillings: Sequence[Filling], say: Callable[[str], None]
) -> None:
    """Fill these tables, the ones that take longest first."""
    for name, value in _UNLOGGED.items():
        postgres.execute(f"alter system set {name} = {value}")
    postgres.restart()
    try:
        asyncio.run(_fill_all(postgres.url(database), fillings, say))
    finally:
        postgres.execute("alter system reset all")
        postgres.restart()
    postgres.execute("checkpoint", database=database)


async def _fill_all(url: str, fillings: Sequence[Filling], say: Callable[[str], None]) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(filling: Filling) -> None:
        async with turns:
            connection = await asyncpg.connect(url)
            try:
                await connection.execute(SESSION)
                await _fill(connection, filling, say)
            finally:
                await connection.close()

    async with asyncio.TaskGroup() as group:
        for filling in fillings:
            group.create_task(one(filling))


async def _fill(
    connection: asyncpg.Connection, filling: Filling, say: Callable[[str], None]
) -> None:
    constraints = await connection.fetch(_CONSTRAINTS, filling.table)
    indexes = await connection.fetch(_INDEXES, filling.table)
    async with connection.transaction():
        for each in (*constraints, *indexes):
            await connection.execute(each["away"])
        await connection.execute(f"truncate {filling.table}")
        for number, statement in enumerate(filling.statements, start=1):
            await connection.execute(statement)
            say(f"filling {filling.table}: {number} of {len(filling.statements)}")
    keys = [one["back"] for one in constraints if not one["refers"]]
    references = [one["back"] for one in constraints if one["refers"]]
    for back in (*keys, *(one["back"] for one in indexes), *references):
        say(f"indexing {filling.table}")
        await connection.execute(back)
    say(f"vacuuming {filling.table}")
    await connection.execute(f"vacuum analyze {filling.table}")
