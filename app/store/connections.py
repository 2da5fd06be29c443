"""Keeps a pool's connections honest where the network is not: a dead link is silent, not closed.

Without this the defaults of TCP and PostgreSQL apply, which are hours: here a call that waits for
an answer, on the other side a transaction that holds the event lock against every replica.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

DEAD_AFTER = 15
"""Seconds without a sign of life after which either side gives a connection up."""
SERVER_SETTINGS = {
    "tcp_user_timeout": f"{DEAD_AFTER}s",
    "tcp_keepalives_idle": f"{DEAD_AFTER // 3}s",
    "tcp_keepalives_interval": f"{DEAD_AFTER // 3}s",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": f"{DEAD_AFTER}s",
}
"""What the server is told of its end, which dies just as silently."""

# A server may be set to answer a commit before it is on disk, and we never answer 2xx from memory.
_COMMIT_TO_DISK = """
select set_config('synchronous_commit', 'on', false)
where current_setting('synchronous_commit') = 'off'
"""
# A statement that waits for a lock would go on doing so after we have given it up and gone, and
# the next one beside it, until there is no connection left. PostgreSQL 13 has no such setting.
_NOTICE_WE_LEFT = """
select set_config(name, $1, false) from pg_settings
where name = 'client_connection_check_interval'
"""

_PLAN_ONCE = "set plan_cache_mode = force_generic_plan"
_PLAN_AS_EVER = "reset plan_cache_mode"

# Not every system has every one of them.
_SOCKET_OPTIONS = (
    ("SOL_SOCKET", "SO_KEEPALIVE", 1),
    ("IPPROTO_TCP", "TCP_KEEPIDLE", DEAD_AFTER // 3),
    ("IPPROTO_TCP", "TCP_KEEPINTVL", DEAD_AFTER // 3),
    ("IPPROTO_TCP", "TCP_KEEPCNT", 3),
    ("IPPROTO_TCP", "TCP_USER_TIMEOUT", DEAD_AFTER * 1000),
)


class Connections:
    """The asyncpg connections of one pool."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._entries: set[ConnectionPoolEntry] = set()
        event.listen(engine.sync_engine, "connect", self._made)
        event.listen(engine.sync_engine, "checkout", self._taken)

    def drop_idle(self) -> None:
        """Close those not in use, without a word to the server: after a failure none is trusted.

        Saying goodbye, as a pool's own ``dispose`` does, waits for ever on a silent link. Those in
        use are closed when they come back.
        """
        for entry in self._entries:
            driver: Any = entry.driver_connection
            if driver is not None:
                if not entry.in_use:
                    driver.terminate()
                entry.invalidate(soft=True)

    def _made(self, connection: Any, entry: ConnectionPoolEntry) -> None:
        self._entries.add(entry)
        connection.run_async(_tell_server)
        transport = getattr(connection.driver_connection, "_transport", None)
        link = transport.get_extra_info("socket") if transport is not None else None
        if link is None or link.family not in (socket.AF_INET, socket.AF_INET6):
            return
        for level, option, value in _SOCKET_OPTIONS:
            if hasattr(socket, option):
                link.setsockopt(getattr(socket, level), getattr(socket, option), value)

    def _taken(self, connection: Any, _entry: ConnectionPoolEntry, _proxy: object) -> None:
        # The driver knows when the other side has closed; the pool would find out by failing.
        if connection.driver_connection.is_closed():
            raise DisconnectionError("the connection was closed while it was idle")


@dataclass(frozen=True, slots=True)
class Lent:
    """A connection out of `AtHand`: since when it has been there, and how often all were dropped
    by then.
    """

    pooled: PoolProxiedConnection
    since: float
    generation: int


class AtHand:
    """Some connections between one use and the next, without a way through the pool in between.

    That way costs more than many a statement. A connection goes it all the same where it was kept
    for ``KEPT_FOR`` seconds when it is next taken, since the pool is who replaces old ones; and
    wherever anyone waits for the pool, who would not be woken by what is kept here.

    Each statement is planned once, for arrays of any length. PostgreSQL would plan again for every
    execution, because a plan for two elements looks cheaper to it than one for ten; planning takes
    longer than running it.
    """

    KEPT_FOR = 60.0
    TIDYING = 1.0
    """Seconds for a connection to be made as the pool wants it. Whoever used it waits for that."""

    def __init__(self, engine: AsyncEngine, *, most: int) -> None:
        self._engine = engine
        self._most = most
        self._kept: list[Lent] = []
        self._asking = 0
        self._generation = 0

    async def take(self) -> Lent:
        """A connection, the one used last if there is one."""
        while self._kept:
            lent = self._kept.pop()
            if _driver(lent.pooled).is_closed():
                lent.pooled.invalidate()
            elif time.monotonic() - lent.since > self.KEPT_FOR:
                await self._give_back(lent.pooled)
            else:
                return lent
        generation = self._generation
        async with self.asking():
            pooled = await self._engine.raw_connection()
        with discarding(pooled):
            await _driver(pooled).execute(_PLAN_ONCE)
        return Lent(pooled, time.monotonic(), generation)

    async def keep(self, lent: Lent) -> None:
        """Done with it, and nothing failed. Nothing that fails here is told: it is done."""
        if lent.generation != self._generation:
            _discard(lent.pooled)
        elif self._asking or len(self._kept) >= self._most:
            await self._give_back(lent.pooled)
        else:
            self._kept.append(lent)

    def drop(self) -> None:
        """Close them all, without a word to the server; those in use as they come back."""
        self._generation += 1
        kept, self._kept = self._kept, []
        for lent in kept:
            _discard(lent.pooled)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """While the pool is asked for a connection. If it has none left, it gets one from here."""
        self._asking += 1
        try:
            pool: Any = self._engine.pool
            if self._kept and pool.checkedout() >= pool.size():
                await self._give_back(self._kept.pop(0).pooled)
            yield
        finally:
            self._asking -= 1

    async def _give_back(self, pooled: PoolProxiedConnection) -> None:
        try:
            with discarding(pooled):
                async with asyncio.timeout(self.TIDYING):
                    await _driver(pooled).execute(_PLAN_AS_EVER)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # a time-out is an OSError
            return
        pooled.close()


@contextmanager
def discarding(pooled: PoolProxiedConnection) -> Iterator[Any]:
    """The driver's connection, which is never used again where anything fails."""
    try:
        yield _driver(pooled)
    except BaseException:
        _discard(pooled)
        raise


def _discard(pooled: PoolProxiedConnection) -> None:
    """Closing politely waits for a server that may be silent."""
    _driver(pooled).terminate()
    pooled.invalidate()


def _driver(pooled: PoolProxiedConnection) -> Any:
    return pooled.driver_connection


async def _tell_server(driver: asyncpg.Connection) -> None:
    await driver.execute(_COMMIT_TO_DISK)
    with suppress(asyncpg.PostgresError):  # not every system can tell
        await driver.execute(_NOTICE_WE_LEFT, f"{DEAD_AFTER}s")
