"""SQLAlchemy's engines: one for PostgreSQL, and a reading and a writing one for SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from functools import partial
from typing import Any
from weakref import WeakSet

from sqlalchemy import URL, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from app.store.connections.aiosqlite_connections import connect_sqlite
from app.store.connections.connect import connect, server_of

BUSY_TIMEOUT = 5.0
"""Seconds that an SQLite writer waits for another process's transaction, which takes
milliseconds."""
ACQUIRE_TIMEOUT = 10.0
"""Seconds that a caller waits for a pooled PostgreSQL connection."""
RECYCLE_AFTER = 1_800
"""Seconds after which a PostgreSQL connection is replaced when it is next used."""

_READ_ONLY = "25006"
"""The SQLSTATE of a write in a read-only transaction."""


def sqlite_engine(url: URL, *, pool_size: int, begin: str) -> AsyncEngine:
    """An engine whose transactions start with the statement ``begin``."""
    engine = create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT, "async_creator_fn": connect_sqlite},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below, and only there
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: object) -> None:
        connection.exec_driver_sql(begin)  # type: ignore[attr-defined]

    return engine


def postgresql_engine(
    arguments: Mapping[str, Any], *, pool_size: int, through_pooler: bool = False
) -> AsyncEngine:
    """``arguments`` are what each connection is made with (see ``connect_arguments``).

    ``through_pooler``: prepared statements are not kept, as each transaction may be on another
    server.
    """

    def create() -> Any:
        # Like SQLAlchemy's ``async_creator``, which cannot set the size of the statement cache.
        dialect: Any = engine.dialect
        return dialect.loaded_dbapi.connect(
            async_creator_fn=partial(connect, **arguments),
            **({"prepared_statement_cache_size": 0} if through_pooler else {}),
        )

    engine = create_async_engine(
        "postgresql+asyncpg://",  # the address is among the arguments
        creator=create,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,
        pool_timeout=ACQUIRE_TIMEOUT,
        pool_recycle=RECYCLE_AFTER,
    )
    event.listen(engine.sync_engine, "handle_error", _drop_read_only)
    return engine


class PooledConnections:
    """The PostgreSQL connections of one engine's pool, to be dropped after an outage."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._entries: set[ConnectionPoolEntry] = set()
        event.listen(engine.sync_engine, "connect", self._connected)
        event.listen(engine.sync_engine, "checkout", _refuse_closed)

    def drop_idle(self) -> None:
        """Terminate what is idle now; what is in use is closed when it comes back.

        The pool's own ``dispose`` closes gracefully, which never ends on a silent link.
        """
        for entry in self._entries:
            connection: Any = entry.driver_connection
            if connection is not None:
                if not entry.in_use:
                    connection.terminate()
                entry.invalidate(soft=True)

    def drop_elsewhere(self, server: object) -> None:
        """Terminate what leads to any other server, also in the middle of a statement."""
        for entry in self._entries:
            connection: Any = entry.driver_connection
            if connection is not None and server_of(connection) != server:
                connection.terminate()
                entry.invalidate(soft=True)

    def _connected(self, _connection: object, entry: ConnectionPoolEntry) -> None:
        self._entries.add(entry)


class ReplaceableConnections:
    """The SQLite connections of one engine's pool: each is made anew before its next use."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._entries: WeakSet[ConnectionPoolEntry] = WeakSet()
        event.listen(engine.sync_engine, "connect", self._connected)

    def replace(self) -> None:
        """Use none of those that exist now again."""
        for entry in self._entries:
            entry.invalidate(soft=True)

    def _connected(self, _connection: object, entry: ConnectionPoolEntry) -> None:
        self._entries.add(entry)


def _drop_read_only(context: ExceptionContext) -> None:
    """Do not reuse a connection on which a write failed as read-only: a session keeps the read-only
    default with which it began, and a server that has become a standby stays one.
    """
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True


def _refuse_closed(connection: Any, _entry: ConnectionPoolEntry, _proxy: object) -> None:
    # asyncpg knows when the server has closed a connection; the pool would learn it by failing.
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the connection was closed while it was idle")
