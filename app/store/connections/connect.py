"""Makes a PostgreSQL connection that notices a dead link within seconds, on both of its ends.

A dead link is silent, not closed. With the defaults of TCP and PostgreSQL it is noticed after
hours: here by a call that waits for a response, on the server by a transaction that holds the event
lock against every replica.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import asyncpg

from app.store.clock import DatabaseClock
from app.store.connections.address import PostgresAddress

DEAD_AFTER = 15
"""Seconds without a sign of life after which either end gives a connection up."""
_SERVER_SETTINGS = {
    "application_name": "iovox-receipts",
    "jit": "off",
    "tcp_user_timeout": f"{DEAD_AFTER}s",
    "tcp_keepalives_idle": f"{DEAD_AFTER // 3}s",
    "tcp_keepalives_interval": f"{DEAD_AFTER // 3}s",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": f"{DEAD_AFTER}s",
}

# A server may be configured to confirm a commit before it is on disk, but a 200 of ours promises
# durable storage.
_COMMIT_TO_DISK = """
select set_config('synchronous_commit', 'on', false)
where current_setting('synchronous_commit') = 'off'
"""
# Without it a statement that waits for a lock goes on waiting after its client has gone, and each
# retry beside it, until the server has no connection left. PostgreSQL 13 has no such setting.
_CHECK_CLIENT = """
select set_config(name, $1, false) from pg_settings
where name = 'client_connection_check_interval'
"""

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
    address: PostgresAddress, *, timeout: float, clock: DatabaseClock
) -> dict[str, Any]:
    """What ``connect`` is to be called with. ``timeout``: seconds for connecting to one host.

    Each connection measures ``clock``.
    """
    ours = dict(_SERVER_SETTINGS)
    if address.names_application:  # what is set here wins over the DSN
        del ours["application_name"]
    return {
        "dsn": address.dsn,
        "hosts": address.hosts,
        "timeout": timeout,
        "clock": clock,
        "server_settings": ours,
    }


async def connect(
    dsn: str | None = None,
    *,
    clock: DatabaseClock,
    hosts: Sequence[tuple[str, int]] = (),
    **arguments: Any,
) -> Any:
    """Called like ``asyncpg.connect``, and raises as it does: a connection that is ready for use.

    ``timeout`` bounds connecting to each of the ``hosts``, which are tried in turn, and each
    statement that prepares the session. asyncpg would spend its timeout on all hosts together, so
    that a first one that is silent would leave nothing for the others.
    """
    timeout = arguments["timeout"]
    connection = await _connect_to_first(dsn, hosts, **arguments)
    try:
        _set_socket_options(connection)
        await connection.execute(_COMMIT_TO_DISK, timeout=timeout)
        with suppress(asyncpg.PostgresError):  # not every system supports the check
            await connection.execute(_CHECK_CLIENT, f"{DEAD_AFTER}s", timeout=timeout)
        await clock.measure(connection, timeout=timeout)
    except BaseException:
        connection.terminate()  # asyncpg's pool, given an ``init``, would close it politely
        raise
    return connection


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


def _set_socket_options(connection: asyncpg.Connection) -> None:
    transport = connection._transport  # noqa: SLF001  asyncpg takes no socket options itself
    link = transport.get_extra_info("socket")
    if link is None or link.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for level, option, value in _SOCKET_OPTIONS:
        if hasattr(socket, option):
            link.setsockopt(getattr(socket, level), getattr(socket, option), value)
