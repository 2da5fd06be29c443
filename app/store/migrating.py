"""Runs migrations one at a time, with short waits for locks, so that the service goes on meanwhile.

A statement that changes a table waits until no transaction uses it, and all that come later queue
behind it. So it waits for LOCK_TIMEOUT only, leaves the queue, and tries again later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

from app.errors import StoreUnavailable
from app.store.engine import Database
from app.store.failures import sqlstate, translated

LOCK_TIMEOUT = 0.5
"""Seconds that a migration waits for a lock: sends and receipts wait behind it for as long."""
FIRST_REST, LONGEST_REST = 0.5, 5.0
"""Seconds until the next try; doubled each time. What was queued behind it has run by then."""
PATIENCE = 600.0
"""Seconds that a migration is tried for: a backup or a report may read for minutes."""
_WAIT_FOR_OTHER = 0.5
_MIGRATION_LOCK = 7000
"""The PostgreSQL advisory lock that a process holds while it migrates."""
_TRY_AGAIN = {"55P03", "40P01", "40001"}  # no lock in time, a deadlock, a conflict
_LONG_TRANSACTIONS = text("""
select pid, coalesce(application_name, '') as name,
       extract(epoch from clock_timestamp() - xact_start) as seconds
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()
  and clock_timestamp() - xact_start > interval '500 milliseconds'
  and backend_type = 'client backend'
  and pid not in (select pid from pg_locks where locktype = 'advisory' and objid = :lock)
order by xact_start limit 3
""")

Tell = Callable[[str], None]
MIGRATIONS = Path(__file__).parents[2] / "migrations"


def config() -> Config:
    """Alembic's configuration, as far as it is needed."""
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    return made


def scripts() -> ScriptDirectory:
    """The migrations of this release."""
    return ScriptDirectory.from_config(config())


@asynccontextmanager
async def alone(database: Database, tell: Tell) -> AsyncIterator[None]:
    """Hold the migration lock; waits for a process that has it. On SQLite the file's lock suffices.

    It is a transaction's lock, not a session's, so that it works behind a pooler, too.
    """
    if database.is_sqlite:
        yield
        return
    is_reported = False
    while True:
        async with database.direct() as connection, connection.transaction():
            if await connection.fetchval("select pg_try_advisory_xact_lock($1)", _MIGRATION_LOCK):
                # The transaction is idle from here on, for as long as a migration takes. Without a
                # parameter this is a simple query, which closes the portal of the query before, and
                # with it the snapshot that CREATE INDEX CONCURRENTLY would wait for.
                await connection.execute("set local idle_in_transaction_session_timeout = 0")
                yield
                return
        if not is_reported:
            tell("Another process migrates this database: waiting for it.")
            is_reported = True
        await asyncio.sleep(_WAIT_FOR_OTHER)


async def run_step(database: Database, target: str, *, down: bool, tell: Tell) -> None:
    """Run one migration up, or back down to ``target``; tried again until it gets its locks.

    Raises StoreUnavailable after PATIENCE seconds, naming long transactions.
    """
    work = partial(_run, target=target, down=down)
    if database.is_sqlite:
        async with database.write() as connection:
            await connection.run_sync(work)
        return
    loop = asyncio.get_running_loop()
    deadline, rest = loop.time() + PATIENCE, FIRST_REST
    while not await _try(database, work):
        holders = await _holders(database)
        if loop.time() + rest > deadline:
            raise StoreUnavailable(
                f"{database.name}: the locks for {target} were not to be had in {PATIENCE:g} s;"
                f" {holders}. What was migrated before stays: run the same again."
            )
        tell(f"  waits for a lock ({holders}); tries again in {rest:g} s")
        await asyncio.sleep(rest)
        rest = min(2 * rest, LONGEST_REST)


async def _try(database: Database, work: Callable[[Connection], None]) -> bool:
    """Run it once; False if it did not get its locks. What it has not committed is rolled back
    then, and what it has may be run again.
    """
    with translated(database.name):
        # Not in a transaction: alembic begins and ends those of the migration.
        async with database.engine.connect() as connection:
            event.listen(connection.sync_connection, "begin", _limit_waiting)
            try:
                await connection.run_sync(work)
            except DBAPIError as error:
                if sqlstate(error) in _TRY_AGAIN:
                    return False
                raise
            finally:
                event.remove(connection.sync_connection, "begin", _limit_waiting)
    return True


def _limit_waiting(connection: Connection) -> None:
    # Of the transaction, not the session, which a pooler would hand on. What commits statement by
    # statement, such as CREATE INDEX CONCURRENTLY, blocks no other transaction while it waits.
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql(f"set local lock_timeout = '{LOCK_TIMEOUT * 1000:.0f}ms'")


def _run(connection: Connection, *, target: str, down: bool) -> None:
    made = config()
    made.attributes["connection"] = connection
    (command.downgrade if down else command.upgrade)(made, target)


async def _holders(database: Database) -> str:
    """The transactions that have been open for long, to be shown."""
    async with database.read() as connection:
        rows = (await connection.execute(_LONG_TRANSACTIONS, {"lock": _MIGRATION_LOCK})).all()
    found = [f"{row.name or 'pid'} {row.pid} for {row.seconds:.0f} s" for row in rows]
    return (
        f"in a transaction: {', '.join(found)}" if found else "nobody is seen to hold it for long"
    )
