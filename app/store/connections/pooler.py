"""Recognises a connection pooler, such as pgbouncer, between the service and PostgreSQL.

A pooler in transaction mode gives each transaction whatever server connection is free. Prepared
statements, settings and LISTEN stay behind on another one: without ``DLR_DATABASE_POOLER`` that
fails now and then, with errors that do not name the cause. So each new connection is checked for
one, by what no pooler can hide: the server process that executes the statements.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

SETTING = "DLR_DATABASE_POOLER=transaction"
ROUNDS = 3
"""Times that two connections are compared: on a busy pooler one comparison may show nothing."""

_REFUSED_PARAMETER = "unsupported startup parameter"
_NO_TRANSACTIONS = "statement pooling mode"

_LOOK = "select pg_backend_pid(), current_setting('synchronous_commit')"


class Unsuitable(Exception):
    """PostgreSQL can be reached, but not used in this way; the text names the setting."""


class PoolerCheck:
    """Checks new connections; once a pooler has been seen to keep sessions, no more of them."""

    def __init__(self) -> None:
        self._keeps_sessions = False

    async def look(
        self,
        connection: asyncpg.Connection,
        connect_another: Callable[[], Awaitable[asyncpg.Connection]],
        *,
        timeout: float,  # noqa: ASYNC109  of each step, and not of all together
    ) -> None:
        """Raises Unsuitable if two transactions of the connection may be on two servers."""
        process, _ = await look(connection, timeout=timeout)
        # The start-up message names the server process; a pooler's has a made-up number.
        if process == connection.get_server_pid() or self._keeps_sessions:
            return
        try:
            another = await connect_another()
        except (OSError, asyncpg.PostgresError):
            return  # nothing was found out; the next connection tries again
        try:
            await _compare(connection, another, timeout=timeout)
        except TimeoutError:
            return  # as above: the pooler may have no second connection to give just now
        finally:
            another.terminate()
        self._keeps_sessions = True


async def look(connection: asyncpg.Connection, *, timeout: float) -> tuple[int, str]:  # noqa: ASYNC109
    """The server's process id and ``synchronous_commit``, in a way that works behind any pooler."""
    async with asyncio.timeout(timeout), connection.transaction():
        # A statement without a name, inside a transaction: there the server stays the same.
        statement = await connection.prepare(_LOOK, name="")
        process, commits = await statement.fetchrow()
        return process, commits


async def _compare(one: Any, other: Any, *, timeout: float) -> None:  # noqa: ASYNC109
    """Raises Unsuitable once a server process has answered both, or two have answered ``one``."""
    mine: set[int] = set()
    for _ in range(ROUNDS):
        mine.add((await look(one, timeout=timeout))[0])
        async with asyncio.timeout(timeout), other.transaction():
            # pgbouncer gives the server connection that was released last: that of ``one``.
            statement = await other.prepare(_LOOK, name="")
            theirs, _ = await statement.fetchrow()
            if theirs not in mine:
                mine.add((await look(one, timeout=timeout))[0])
        if len(mine) > 1 or theirs in mine:
            raise Unsuitable(
                "a pooler, such as pgbouncer, is in front of it and gives each transaction another "
                f"connection (pool_mode = transaction). Set {SETTING}, or connect to PostgreSQL "
                "itself"
            )


def refusal(error: BaseException) -> Unsuitable | None:
    """What to do about an error of a pooler; None if it is another error."""
    text = str(error).partition("\n")[0]
    _, refused, parameter = text.partition(_REFUSED_PARAMETER)
    if refused:
        return Unsuitable(
            "a pooler, such as pgbouncer, is in front of it and refuses the start-up parameter "
            f"{parameter.strip(': ')[:60]}. Set {SETTING}, or connect to PostgreSQL itself"
        )
    if _NO_TRANSACTIONS in text:
        return Unsuitable(
            "a pooler, such as pgbouncer, is in front of it and allows no transactions "
            f"(pool_mode = statement). Set its pool_mode to transaction and {SETTING}, or connect "
            "to PostgreSQL itself"
        )
    return None
