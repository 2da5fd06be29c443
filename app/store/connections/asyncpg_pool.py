"""asyncpg's own pool, for the few statements that are run for every receipt, send and lookup."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.store.connections.connect import connect, server_of

ACQUIRE_TIMEOUT = 10.0
"""Seconds that a caller waits for a connection to come free, and then for it to be made."""
IDLE_LIFETIME = 300.0
"""Seconds after which a connection that nobody has used is closed."""


class AsyncpgPool:
    """At most ``size`` connections, made when they are needed; building it does no I/O.

    A connection on which anything failed is terminated, never reused. None is ever closed
    gracefully: on a silent link that would wait for a response that never comes.
    """

    def __init__(self, arguments: Mapping[str, Any], *, size: int) -> None:
        """``arguments`` are what each connection is made with (see ``connect_arguments``)."""
        self._arguments = arguments
        self._size = size
        self._pool: asyncpg.Pool | None = None
        self._generation = 0

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """A connection, the one released last if any is idle. Raises PoolTimeout, as
        SQLAlchemy's pool does, where all are in use for ACQUIRE_TIMEOUT, and what asyncpg raises.
        """
        pool = await self._opened()
        generation = self._generation
        connection = await _acquire(pool)
        try:
            yield connection
        except BaseException:
            _terminate(connection)
            raise
        if generation != self._generation:
            _terminate(connection)
            return
        await pool.release(connection)
        if generation != self._generation:  # dropped while it was being released
            _terminate_idle(pool)

    def use(self, arguments: Mapping[str, Any]) -> None:
        """Make new connections with these arguments; those that there are go on."""
        self._arguments = arguments
        if self._pool is not None:
            self._pool.set_connect_args(**arguments)

    @property
    def in_use(self) -> int:
        """How many connections are in use."""
        return self._pool.get_size() - self._pool.get_idle_size() if self._pool else 0

    def drop_idle(self) -> None:
        """Terminate what is idle now; what is in use is terminated when it comes back.

        asyncpg's ``expire_connections`` closes them gracefully, each when it is next acquired.
        """
        self._generation += 1
        if self._pool is not None:
            _terminate_idle(self._pool)

    def drop_elsewhere(self, server: object) -> None:
        """Terminate what leads to any other server, also in the middle of a statement."""
        for holder in self._pool._holders if self._pool else ():  # noqa: SLF001
            connection = holder._con  # noqa: SLF001
            if connection is not None and server_of(connection) != server:
                connection.terminate()

    def close(self) -> None:
        """Drop the idle connections and forget the pool; a later use makes a new one.

        asyncpg's ``close`` waits for what is in use, and its ``terminate`` aborts that.
        """
        self.drop_idle()
        self._pool = None

    async def _opened(self) -> asyncpg.Pool:
        """asyncpg ties a pool to the running event loop, so it is made at the first use."""
        if self._pool is None:
            pool = asyncpg.create_pool(
                connect=connect,
                min_size=0,
                max_size=self._size,
                max_inactive_connection_lifetime=IDLE_LIFETIME,
                max_queries=sys.maxsize,  # a connection that has reached it is closed gracefully
                reset=_reset_nothing,
                **self._arguments,
            )
            await pool  # makes no connection, as min_size is 0
            self._pool = self._pool or pool  # another first use may have made one meanwhile
        return self._pool


async def _acquire(pool: asyncpg.Pool) -> Any:
    # Not by acquire's own timeout: that starts a task for each call.
    try:
        async with asyncio.timeout(ACQUIRE_TIMEOUT) as waiting:
            return await pool.acquire()
    except TimeoutError:
        if waiting.expired():
            raise PoolTimeout from None
        raise  # connecting took too long


def _terminate_idle(pool: asyncpg.Pool) -> None:
    for holder in pool._holders:  # noqa: SLF001  asyncpg has no public way
        if holder.is_idle():
            holder.terminate()


def _terminate(connection: Any) -> None:
    with suppress(asyncpg.InterfaceError):  # it was closed meanwhile, and has left the pool
        connection.terminate()


async def _reset_nothing(_connection: asyncpg.Connection) -> None:
    """In place of asyncpg's reset query, which is a round trip at every release
    (docs/performance.md).

    It undoes SET, LISTEN, cursors and session-level advisory locks, and no statement that is run
    through this pool leaves any of these. asyncpg still rolls back an open transaction.
    """
