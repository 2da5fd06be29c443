"""Connections: one Database for SQLite and PostgreSQL, with its failures told apart.

A failure is either ``StoreUnavailable`` (the database is away, full, or not migrated: the same data
may well go in later) or ``StoreRefused`` (it read the data and will not have it). Receipts live by
that difference, so it is decided here, once.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import URL, event, make_url
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.errors import StoreRefused, StoreUnavailable
from app.store.connections import SERVER_SETTINGS, AtHand, Connections, discarding

BUSY_TIMEOUT = 5.0
"""Seconds an SQLite writer waits for another process's; a commit takes milliseconds."""

SHARE_AT_HAND = 2
"""One in so many of a pool's connections is kept at hand for ``Database.direct``."""

TRIES = 3
"""Of a transaction that PostgreSQL breaks off, such as in a deadlock."""

# PostgreSQL's error classes: data exceptions, broken constraints, and limits such as a key that is
# too long for an index. Everything else (no connection, no space, no table, read-only, shutting
# down) says nothing against the data.
_REFUSING_CLASSES = ("22", "23", "54")
_REFUSING_SQLITE = (sqlite3.IntegrityError, sqlite3.DataError)
_TRANSIENT_CLASSES = ("40",)
_STALE_PLAN = "0A000"
_OF_DATABASES = (
    SQLAlchemyError,
    # of a connection that is asked for without SQLAlchemy around it, while it is made
    AsyncAdapt_asyncpg_dbapi.Error,
    # asyncpg's own, while connecting, or where it is used without SQLAlchemy around it
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    # sqlite3's, for a value that it cannot encode
    UnicodeEncodeError,
    OverflowError,
)

Result = TypeVar("Result")


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
            self._writer = _postgresql_engine(self.url, pool_size, connect_timeout)
            self._connections = Connections(self._writer)
            self._at_hand = AtHand(self._writer, most=pool_size // SHARE_AT_HAND)
            # The same pool. A reader needs no BEGIN and no ROLLBACK: two round trips less each.
            self._reader = self._writer.execution_options(isolation_level="AUTOCOMMIT")

    @property
    def writes_at_once(self) -> int:
        """How many transactions of one kind it works on with advantage: while PostgreSQL flushes
        one to disk it works on the other. SQLite has one writer at a time in any case.
        """
        return 1 if self.is_sqlite else 2

    @asynccontextmanager
    async def write(self, *, patience: float | None = None) -> AsyncIterator[AsyncConnection]:
        """One transaction; committed at the end, rolled back by any exception.

        Broken off after ``patience`` seconds, or what its driver takes to notice: a server that is
        silent must not hold up whoever writes next. It may have been committed then.
        """
        with translated():
            async with asyncio.timeout(patience), self._pooled(self._writer.begin()) as connection:
                yield connection

    @asynccontextmanager
    async def read(self, *, patience: float | None = None) -> AsyncIterator[AsyncConnection]:
        """A connection to read by. Each statement sees what is committed when it starts."""
        with translated():
            async with (
                asyncio.timeout(patience),
                self._pooled(self._reader.connect()) as connection,
            ):
                yield connection

    @asynccontextmanager
    async def direct(self, *, patience: float | None = None) -> AsyncIterator[Any]:
        """PostgreSQL only: asyncpg's own connection, where each statement is a transaction.

        For what is done once a send: around a statement of 100 microseconds SQLAlchemy's
        transaction costs 600 more. A connection on which something failed is not used again.
        """
        with translated():
            async with asyncio.timeout(patience):
                lent = await self._at_hand.take()
                with discarding(lent.pooled) as driver:
                    yield driver
            await self._at_hand.keep(lent)

    @asynccontextmanager
    async def listening(
        self, channel: str, callback: Callable[[Any, int, str, str], None]
    ) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
        """A PostgreSQL connection of its own that listens; gives a function that notifies.

        Raises StoreUnavailable once the connection is lost, when next used to notify.
        """
        with translated():
            async with self._pooled(self._reader.connect()) as connection:
                raw = await connection.get_raw_connection()
                driver: Any = raw.driver_connection
                await driver.add_listener(channel, callback)

                async def notify(payload: str) -> None:
                    await driver.execute("select pg_notify($1, $2)", channel, payload)

                try:
                    yield notify
                finally:
                    await connection.invalidate()

    @asynccontextmanager
    async def _pooled(
        self, connecting: AbstractAsyncContextManager[AsyncConnection]
    ) -> AsyncIterator[AsyncConnection]:
        """A connection out of the pool, which what is kept at hand gives way to."""
        async with AsyncExitStack() as stack:
            async with nullcontext() if self.is_sqlite else self._at_hand.asking():
                connection = await stack.enter_async_context(connecting)
            yield connection

    def drop_idle(self) -> None:
        """Use no connection again that there is now: what failed once may fail silently next."""
        if not self.is_sqlite:
            self._at_hand.drop()
            self._connections.drop_idle()

    async def close(self) -> None:
        """Close every pooled connection; the ones in use close as they come back."""
        self.drop_idle()
        await self._writer.dispose()
        if self.is_sqlite:
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
        hide_parameters=True,
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
        hide_parameters=True,
        pool_timeout=10.0,
        pool_recycle=1800,
        connect_args={
            "timeout": connect_timeout,
            "server_settings": {
                "application_name": "iovox-receipts",
                "jit": "off",
                **SERVER_SETTINGS,
            },
        },
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn whatever a driver raises into one of our two errors; the driver's words are kept.

    The driver's error itself is not: it quotes rows and values, which are customers' data, and a
    traceback ends up in a log.
    """
    try:
        yield
    except PoolTimeout:
        raise StoreUnavailable("every database connection is in use") from None
    except _OF_DATABASES as error:
        kind = StoreRefused if _refuses(error) else StoreUnavailable
        raise kind(_words(error)) from None


async def tried_again(transaction: Callable[[], Awaitable[Result]]) -> Result:
    """Run a transaction, again where it was broken off through no fault of the data. Raises as it
    does.
    """
    for _ in range(TRIES - 1):
        try:
            return await transaction()
        except StoreUnavailable as error:
            if not _is_transient(error):
                raise
    return await transaction()


def _is_transient(error: Exception) -> bool:
    """Whether the same transaction may simply be run again: a deadlock, or a plan gone stale."""
    state = _sqlstate(error.__context__)
    return state.startswith(_TRANSIENT_CLASSES) or state == _STALE_PLAN


def _refuses(error: Exception) -> bool:
    if getattr(error, "connection_invalidated", False):
        return False
    original = _original(error)
    if isinstance(original, _REFUSING_SQLITE):
        return True
    # Without a state of the server's it never left us: a driver could not encode the value.
    state = _sqlstate(error)
    causes = (original, original.__cause__)
    unencodable = any(isinstance(cause, (ValueError, OverflowError)) for cause in causes)
    return state.startswith(_REFUSING_CLASSES) or (not state and unencodable)


def _original(error: BaseException) -> BaseException:
    """The driver's own error, out of SQLAlchemy's if it is in one."""
    return (error.orig if isinstance(error, StatementError) else None) or error


def _sqlstate(error: BaseException | None) -> str:
    return str(getattr(error and _original(error), "sqlstate", None) or "")


def _words(error: Exception) -> str:
    """The driver's first line, without the statement and its values: those are customers' data."""
    original = _original(error)
    words = str(original).partition("\n")[0]
    _, at_fault, which = words.partition("invalid input for query argument ")
    if at_fault:  # asyncpg goes on with the value that it could not encode
        words = f"{at_fault}{which.partition(':')[0]}: it cannot be encoded"
    return words[:300] or type(original).__name__
