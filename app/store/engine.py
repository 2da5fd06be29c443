"""Connections: one Database for SQLite and PostgreSQL, with its failures told apart.

A failure is either ``StoreUnavailable`` (the database is away, full, or not migrated: the same data
may well go in later) or ``StoreRefused`` (it read the data and will not have it). Receipts live by
that difference, so it is decided here, once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.errors import StoreRefused, StoreUnavailable

BUSY_TIMEOUT = 5.0
"""Seconds an SQLite writer waits for another process's; a commit takes milliseconds."""

# PostgreSQL's error classes: data exceptions, broken constraints, and limits such as a key that is
# too long for an index. Everything else (no connection, no space, no table, read-only, shutting
# down) says nothing against the data.
_REFUSING_CLASSES = ("22", "23", "54")
_REFUSING_SQLITE = (sqlite3.IntegrityError, sqlite3.DataError)
_TRANSIENT_CLASSES = ("40",)
_STALE_PLAN = "0A000"


def driver_url(url: str) -> URL:
    """The same database by the driver we use; a bare ``postgresql://`` would mean another one.

    Raises ValueError for a URL that names neither SQLite nor PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        raise ValueError("it is not a database URL") from error
    backend = parsed.drivername.split("+")[0]
    drivers = {
        "sqlite": "sqlite+aiosqlite",
        "postgresql": "postgresql+asyncpg",
        "postgres": "postgresql+asyncpg",
    }
    if backend not in drivers:
        raise ValueError("it must start with sqlite:/// or postgresql://")
    return parsed.set(drivername=drivers[backend])


class Database:
    """Two pools over one database: ``write`` and ``read``. Nothing connects before its first use.

    On SQLite all writes of a process go through one connection and begin IMMEDIATE: with several
    that begin plainly, most of them fail as busy.
    """

    def __init__(self, url: str, *, pool_size: int = 8, connect_timeout: float = 3.0) -> None:
        self.url = driver_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self._writer = _sqlite_engine(self.url, pool_size=1, begin="BEGIN IMMEDIATE")
            self._reader = _sqlite_engine(self.url, pool_size=pool_size, begin="BEGIN")
        else:
            self._writer = self._reader = _postgresql_engine(self.url, pool_size, connect_timeout)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction; committed at the end, rolled back by any exception."""
        with translated():
            async with self._writer.begin() as connection:
                yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read by. Each statement sees what is committed when it starts."""
        with translated():
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def listening(
        self, channel: str, callback: Callable[[Any, int, str, str], None]
    ) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
        """A PostgreSQL connection of its own that listens; gives a function that notifies.

        Raises StoreUnavailable once the connection is lost, when next used to notify.
        """
        with translated():
            async with self._reader.connect() as connection:
                raw = await connection.get_raw_connection()
                driver: Any = raw.driver_connection
                await driver.add_listener(channel, callback)

                async def notify(payload: str) -> None:
                    await driver.execute("select pg_notify($1, $2)", channel, payload)

                try:
                    yield notify
                finally:
                    await connection.invalidate()

    async def close(self) -> None:
        """Close every pooled connection; the ones in use close as they come back."""
        await self._writer.dispose()
        if self._reader is not self._writer:
            await self._reader.dispose()

    @property
    def engine(self) -> AsyncEngine:
        """The writing engine, for the migrations."""
        return self._writer


def _sqlite_engine(url: URL, *, pool_size: int, begin: str) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        connect_args={"timeout": BUSY_TIMEOUT},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below, and only there
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: object) -> None:
        connection.exec_driver_sql(begin)  # type: ignore[attr-defined]

    return engine


def _postgresql_engine(url: URL, pool_size: int, connect_timeout: float) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10.0,
        pool_recycle=1800,
        connect_args={
            "timeout": connect_timeout,
            "server_settings": {"application_name": "iovox-receipts", "jit": "off"},
        },
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn whatever a driver raises into one of our two errors; the driver's words are kept."""
    try:
        yield
    except PoolTimeout as error:
        raise StoreUnavailable("every database connection is in use") from error
    except DBAPIError as error:
        if _refuses(error):
            raise StoreRefused(_words(error)) from error
        raise StoreUnavailable(_words(error)) from error
    except SQLAlchemyError as error:
        raise StoreUnavailable(str(error)) from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        # asyncpg's own, while connecting, or where it is used without SQLAlchemy around it
        raise StoreUnavailable(str(error) or type(error).__name__) from error


def is_transient(error: Exception) -> bool:
    """Whether the same transaction may simply be run again: a deadlock, or a plan gone stale."""
    cause = error.__cause__
    if not isinstance(cause, DBAPIError):
        return False
    state = _sqlstate(cause)
    return state.startswith(_TRANSIENT_CLASSES) or state == _STALE_PLAN


def _refuses(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return False
    if isinstance(error.orig, _REFUSING_SQLITE):
        return True
    # Without a state of the server's it never left us: asyncpg could not encode the value.
    state = _sqlstate(error)
    return state.startswith(_REFUSING_CLASSES) or (not state and _is_unencodable(error))


def _is_unencodable(error: DBAPIError) -> bool:
    causes = (error.orig, getattr(error.orig, "__cause__", None))
    return any(isinstance(cause, (ValueError, OverflowError)) for cause in causes)


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _words(error: DBAPIError) -> str:
    """The driver's first line, without the statement and its values: those are customers' data."""
    return str(error.orig).splitlines()[0][:300] if str(error.orig) else type(error.orig).__name__
