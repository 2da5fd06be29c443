"""The database: transactions and reads through SQLAlchemy, hot statements through asyncpg's pool.

Every failure is ``StoreUnavailable`` or ``StoreRefused`` (see ``failures``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.errors import SchemaUnusable
from app.store.clock import DatabaseClock
from app.store.connections.address import SqliteAddress, read_address
from app.store.connections.asyncpg_pool import AsyncpgPool
from app.store.connections.connect import connect, connect_arguments
from app.store.connections.sqlalchemy_engines import (
    PooledConnections,
    ReplaceableConnections,
    postgresql_engine,
    sqlite_engine,
)
from app.store.failures import translated
from app.store.generation import Generation

NOTIFY_TIMEOUT = 5.0
"""Seconds for a notification, which takes a millisecond."""


class Database:
    """Two ways in: ``write`` and ``read`` by SQLAlchemy, ``direct`` by asyncpg's pool.

    Of at most ``pool_size`` PostgreSQL connections (2 at least) ``direct_size`` are asyncpg's, by
    default half; ``listening`` takes one more. None is made before its first use. On SQLite all are
    SQLAlchemy's, and all writes of a process go through one connection and begin IMMEDIATE: of
    several that begin plainly, most fail as busy.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 8,
        direct_size: int | None = None,
        connect_timeout: float | None = None,
        clock: DatabaseClock | None = None,
        pooler: str | None = None,
    ) -> None:
        """``connect_timeout``: seconds for each host, instead of what the URL says. ``pooler``:
        "transaction" if a pooler may give each transaction another server connection (see
        ``connections.pooler``). ``clock``: that of another ``Database`` of the same database.

        Raises ValueError for a URL that cannot be used, without its password."""
        address = read_address(url)
        self.clock = clock or DatabaseClock()
        self.name = address.name
        """Hosts and database, for errors: no password, but nothing for strangers either."""
        self.file = address.file if isinstance(address, SqliteAddress) else None
        self.is_sqlite = isinstance(address, SqliteAddress)
        self.can_listen = not (self.is_sqlite or pooler)
        """Whether ``listening`` works: a pooler takes a connection's server away again."""
        self.failover_time = 0.0
        """Seconds that hosts which are gone may take before the last one is tried."""
        self._refused: str | None = None
        self.generation = Generation()
        if isinstance(address, SqliteAddress):
            self.clock.is_the_hosts()
            self._writer = sqlite_engine(address.url, pool_size=1, begin="BEGIN IMMEDIATE")
            self._reader = sqlite_engine(address.url, pool_size=pool_size, begin="BEGIN")
            self._files = (
                ReplaceableConnections(self._writer),
                ReplaceableConnections(self._reader),
            )
            return
        if pooler and address.has_options:
            raise ValueError(
                "options has no effect behind a pooler, whose sessions are shared: leave it out, "
                "and use ALTER ROLE ... SET for the service's role"
            )
        timeout = connect_timeout or address.timeout
        self.failover_time = timeout * max(0, len(address.hosts) - 1)
        direct_size = direct_size or pool_size // 2
        through_pooler = bool(pooler)
        self._arguments = connect_arguments(
            address, timeout=timeout, clock=self.clock, through_pooler=through_pooler
        )
        self._writer = postgresql_engine(
            self._arguments, pool_size=pool_size - direct_size, through_pooler=through_pooler
        )
        self._pooled = PooledConnections(self._writer)
        # The same pool. A reader needs no BEGIN and no ROLLBACK: that saves two round trips.
        self._reader = self._writer.execution_options(isolation_level="AUTOCOMMIT")
        self._direct = AsyncpgPool(self._arguments, size=direct_size)

    def use_url(self, url: str) -> None:
        """Make new connections by this URL, as with another password; existing ones stay.

        Raises ValueError where it cannot be used, or is of another database.
        """
        address = read_address(url)
        if address.name != self.name or isinstance(address, SqliteAddress):
            raise ValueError("it is of another database: that needs a restart")
        self._arguments["dsn"] = address.dsn
        self._direct.use(self._arguments)

    @property
    def writes_at_once(self) -> int:
        """How many transactions of one kind are worth running at once: while PostgreSQL flushes
        one to disk it works on the other. SQLite has one writer at a time in any case.
        """
        return 1 if self.is_sqlite else 2

    def refuse(self, why: str | None) -> None:
        """Have every use but ``look`` raise SchemaUnusable for this reason; None ends that."""
        self._refused = why

    @asynccontextmanager
    async def look(self) -> AsyncIterator[AsyncConnection]:
        """Like ``read``, also while uses are refused: to see whether they still have to be."""
        with translated(self.name):
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self, *, patience: float | None = None) -> AsyncIterator[AsyncConnection]:
        """One transaction; committed at the end, rolled back by any exception.

        Aborted after ``patience`` seconds, or when the driver notices, so that a silent server does
        not hold up the next writer. It may have been committed all the same.
        """
        self._check_refusal()
        with translated(self.name):
            async with asyncio.timeout(patience), self._writer.begin() as connection:
                yield connection

    @asynccontextmanager
    async def read(self, *, patience: float | None = None) -> AsyncIterator[AsyncConnection]:
        """A connection to read by. Each statement sees what is committed when it starts."""
        self._check_refusal()
        with translated(self.name):
            async with asyncio.timeout(patience), self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def direct(self, *, patience: float | None = None) -> AsyncIterator[Any]:
        """PostgreSQL only: an asyncpg connection, where each statement is a transaction.

        For what is run for every receipt, send and lookup: around a statement of 100 microseconds
        SQLAlchemy's transaction costs 600 more. A statement must leave no session state behind
        (SET, LISTEN, session-level locks): nothing is reset between two uses.
        """
        self._check_refusal()
        with translated(self.name):
            async with asyncio.timeout(patience), self._direct.acquire() as connection:
                yield connection

    @asynccontextmanager
    async def listening(
        self, channel: str, callback: Callable[[Any, int, str, str], None]
    ) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
        """Where ``can_listen``: a connection outside of the pools that listens; gives a function
        that notifies.

        Raises StoreUnavailable once the connection is lost, when next used to notify.
        """
        with translated(self.name):
            connection = await connect(**self._arguments)

            async def notify(payload: str) -> None:
                # Bounded: a server may be silent, and its machine still acknowledge what is sent.
                await connection.execute(
                    "select pg_notify($1, $2)", channel, payload, timeout=NOTIFY_TIMEOUT
                )

            try:
                await connection.add_listener(channel, callback)
                yield notify
            finally:
                connection.terminate()

    def _check_refusal(self) -> None:
        if self._refused is not None:
            raise SchemaUnusable(self._refused)

    def drop_idle(self) -> None:
        """Reuse no connection that exists now: after an outage a link may be dead and silent."""
        if not self.is_sqlite:
            self._direct.drop_idle()
            self._pooled.drop_idle()

    def drop_elsewhere(self, server: object) -> None:
        """After a failover: terminate connections in use that lead to another server than this one,
        which takes writes (see ``server_of``). A dead one would keep their users waiting for long.
        """
        if not self.is_sqlite:
            self._direct.drop_elsewhere(server)
            self._pooled.drop_elsewhere(server)

    def reopen(self) -> None:
        """SQLite only: use the file that is at the path now, not the one that was opened."""
        for connections in self._files:
            connections.replace()

    @property
    def connections_in_use(self) -> int:
        """How many of the pools' connections are in use."""
        engines = {id(one.sync_engine.pool): one for one in (self._writer, self._reader)}
        pools: list[Any] = [one.sync_engine.pool for one in engines.values()]
        direct: int = 0 if self.is_sqlite else self._direct.in_use
        return sum((int(pool.checkedout()) for pool in pools), start=direct)

    async def close(self) -> None:
        """Close every idle connection; the ones in use close as they come back."""
        if self.is_sqlite:
            await self._reader.dispose()
        else:
            self._direct.close()
            self._pooled.drop_idle()
        await self._writer.dispose()

    @property
    def engine(self) -> AsyncEngine:
        """The writing engine, for the migrations."""
        return self._writer
