"""Makes a PostgreSQL connection that notices a dead link within seconds, on both of its ends.

A dead link is silent, not closed. With the defaults of TCP and PostgreSQL it is noticed after
hours. Until then a call waits here for its response, and on the server a transaction may hold the
event lock against every replica.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import asyncpg

from app.store.clock import DatabaseClock
from app.store.connections.address import PostgresAddress
from app.store.connections.pooler import PoolerCheck, Unsuitable, look, refusal
from app.store.connections.refusals import CannotConnect, in_words

DEAD_AFTER = 15
"""Seconds without an acknowledgement after which either end gives a connection up."""
_SERVER_SETTINGS = {
    "application_name": "iovox-receipts",
    "jit": "off",
    "tcp_user_timeout": f"{DEAD_AFTER}s",
    "tcp_keepalives_idle": f"{DEAD_AFTER // 3}s",
    "tcp_keepalives_interval": f"{DEAD_AFTER // 3}s",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": f"{DEAD_AFTER}s",
}

# A server may be configured to confirm a commit before it is on disk, but the 200 for a receipt
# promises durable storage.
_COMMIT_TO_DISK = """
select set_config('synchronous_commit', 'on', false)
where current_setting('synchronous_commit') = 'off'
"""
_COMMITS_NOT_TO_DISK = (
    "synchronous_commit is off, and behind a pooler the service cannot set it for its sessions. "
    "Set it for its role: ALTER ROLE dlr SET synchronous_commit = on"
)
# Without it a statement that waits for a lock goes on waiting after its client has gone, and so
# does each retry of it, until the server has no connection left. PostgreSQL 13 has no such setting.
_CHECK_CLIENT = """
select set_config(name, $1, false) from pg_settings
where name = 'client_connection_check_interval'
"""

# Every array type that a statement of the service has as a parameter or in its result.
_ARRAYS = "select " + ", ".join(
    f"${number}::{name}[]"
    for number, name in enumerate(
        ("uuid", "text", "bytea", "timestamptz", "bool", "int2", "int4", "int8", "float8"), start=1
    )
)

_NEXT_HOST = (
    OSError,  # also a timeout
    asyncpg.CannotConnectNowError,
    asyncpg.TargetServerAttributeNotMatched,
)

# Not every system has every one of them.
_SOCKET_OPTIONS = (
    ("SOL_SOCKET", "SO_KEEPALIVE", 1),
    ("IPPROTO_TCP", "TCP_KEEPIDLE", DEAD_AFTER // 3),
    ("IPPROTO_TCP", "TCP_KEEPINTVL", DEAD_AFTER // 3),
    ("IPPROTO_TCP", "TCP_KEEPCNT", 3),
    ("IPPROTO_TCP", "TCP_USER_TIMEOUT", DEAD_AFTER * 1000),
)


def connect_arguments(
    address: PostgresAddress,
    *,
    timeout: float,
    clock: DatabaseClock,
    through_pooler: bool = False,
) -> dict[str, Any]:
    """What ``connect`` is to be called with. ``timeout``: seconds for connecting to one host.

    ``through_pooler``: a pooler may give each transaction another server connection. Then no
    setting is left behind in a session, and prepared statements have no names. Each connection
    measures ``clock``.
    """
    ours = dict(_SERVER_SETTINGS)
    if through_pooler:
        ours = {"application_name": ours["application_name"]}
    if address.names_application:  # what is set here wins over the DSN
        del ours["application_name"]
    return {
        "dsn": address.dsn,
        "hosts": address.hosts,
        "timeout": timeout,
        "clock": clock,
        "server_settings": ours,
        "check": None if through_pooler else PoolerCheck(),
        **({"statement_cache_size": 0} if through_pooler else {}),
    }


async def connect(
    dsn: str | None = None,
    *,
    clock: DatabaseClock,
    hosts: Sequence[tuple[str, int]] = (),
    check: PoolerCheck | None = None,
    **arguments: Any,
) -> Any:
    """Called like ``asyncpg.connect``, and raises as it does: a connection that is ready for use.

    ``timeout`` bounds connecting to each of the ``hosts``, which are tried in turn, and each
    statement that prepares the session. asyncpg would spend its timeout on all hosts together, so
    that a first one that is silent would leave nothing for the others. ``check`` is None where a
    pooler is configured. Raises Unsuitable, and CannotConnect for errors that ``refusals`` can
    explain.
    """
    try:
        connection = await _connect_to_first(dsn, hosts, **arguments)
    except (asyncpg.PostgresError, OSError) as error:
        # Without its cause: OpenSSL's is a ValueError, which would count as data that is refused.
        if said := refusal(error) or in_words(error, dsn=dsn or ""):
            raise said from None
        raise
    except UnicodeError:
        raise CannotConnect("its host name is not a valid one") from None
    try:
        _set_socket_options(connection)
        await _prepare_session(connection, check, dsn, hosts, **arguments)
        await clock.measure(connection, timeout=arguments["timeout"])
    except BaseException as error:
        connection.terminate()  # were this an ``init`` of asyncpg's pool, it would close gracefully
        if said := refusal(error):
            raise said from None
        raise
    return connection


async def _prepare_session(
    connection: asyncpg.Connection,
    check: PoolerCheck | None,
    dsn: str | None,
    hosts: Sequence[tuple[str, int]],
    **arguments: Any,
) -> None:
    timeout = arguments["timeout"]
    if check is None:
        await _learn_types(connection, timeout=timeout)
        _, commits = await look(connection, timeout=timeout)
        if commits == "off":
            raise Unsuitable(_COMMITS_NOT_TO_DISK)
        return
    another = partial(_connect_to_first, dsn, hosts, **arguments)
    await check.look(connection, another, timeout=timeout)
    await connection.execute(_COMMIT_TO_DISK, timeout=timeout)
    with suppress(asyncpg.PostgresError):  # not every system supports the check
        await connection.execute(_CHECK_CLIENT, f"{DEAD_AFTER}s", timeout=timeout)


async def _learn_types(connection: asyncpg.Connection, *, timeout: float) -> None:  # noqa: ASYNC109
    """Have asyncpg look up the array types now, without JIT: with it that takes two seconds.

    By itself it would do so at their first use, and set ``jit`` off and on again for the session,
    which a pooler hands on to others.
    """
    connection._server_caps = connection._server_caps._replace(jit=False)  # noqa: SLF001
    async with asyncio.timeout(timeout), connection.transaction():
        await connection.execute("set local jit = off")
        await connection.prepare(_ARRAYS, name="")


async def _connect_to_first(
    dsn: str | None, hosts: Sequence[tuple[str, int]], **arguments: Any
) -> asyncpg.Connection:
    """To the first host that can be used. Raises the error of the last one."""
    for host, port in hosts[:-1]:
        with suppress(*_NEXT_HOST):
            return await asyncpg.connect(dsn, host=host, port=port, **arguments)
    for host, port in hosts[-1:]:
        return await asyncpg.connect(dsn, host=host, port=port, **arguments)
    return await asyncpg.connect(dsn, **arguments)


def server_of(connection: asyncpg.Connection) -> object:
    """The address of the server, or pooler, that the connection leads to."""
    return connection._transport.get_extra_info("peername")  # noqa: SLF001  there is no other way


def _set_socket_options(connection: asyncpg.Connection) -> None:
    transport = connection._transport  # noqa: SLF001  asyncpg takes no socket options itself
    link = transport.get_extra_info("socket")
    if link is None or link.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for level, option, value in _SOCKET_OPTIONS:
        if hasattr(socket, option):
            link.setsockopt(getattr(socket, level), getattr(socket, option), value)
