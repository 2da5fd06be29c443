"""The aiohttp session for requests to iovox. Responses are untrusted.

Features that are not needed are off, as they cost CPU or safety: cookies, the environment's
variables, ``.netrc``, decompression (the client's own is bounded), all timeouts but that of
connecting. aiohttp retries idempotent requests by itself, and never a POST.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

KEEPALIVE_TIMEOUT = 2.0
"""Seconds that an idle connection is kept. Short: a request on a connection that the server is just
closing gets no response, and its outcome would be unknown."""
MAX_HEADERS, MAX_HEADER_SIZE = 64, 8190
"""Of one response: the number of headers, and the bytes of a line."""

USER_AGENT = "iovox-receipts"

before_writing: ContextVar[Callable[[], None]] = ContextVar("before_writing")
"""Called when a request has its connection, right before its first byte is written. A context
variable, as aiohttp passes nothing from its caller to the connector; its tracing would, and costs
4 % of a send's CPU."""


def open_session(
    *,
    tls: ssl.SSLContext | None,
    resolver: AbstractResolver | None,
    connect_timeout: float,
) -> aiohttp.ClientSession:
    """A session for the running event loop. ``connect_timeout``: seconds per address, for TCP and
    TLS together.

    The session has no default headers: aiohttp would send them, with our keys, to a proxy with
    CONNECT. Each request calls what its task has set as ``before_writing``.
    """
    return aiohttp.ClientSession(
        connector=_Connector(
            ssl=tls or True,
            # Explicit: aiohttp's default depends on whether aiodns is installed.
            resolver=resolver or aiohttp.ThreadedResolver(),
            keepalive_timeout=KEEPALIVE_TIMEOUT,
            limit=0,  # the client's semaphore is the limit: its waits have a timeout of their own
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout),
        auto_decompress=False,
        max_line_size=MAX_HEADER_SIZE,
        max_field_size=MAX_HEADER_SIZE,
        max_headers=MAX_HEADERS,
    )


class _Connector(aiohttp.TCPConnector):
    """Reuses an idle connection only if nothing was received on it since its last response.

    aiohttp reuses every connection that the event loop has not seen closed. It would take a second
    response to the last request (such as the 503 of a proxy that shuts down) for the response to
    the next one, and lose the outcome of a request written after an unread close.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used: WeakSet[ResponseHandler] = WeakSet()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  aiohttp's signature
    ) -> Connection:
        """A connection without unread input; nothing of the request is written yet."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None or protocol not in self._used:
                break
            if not protocol.should_close and not _has_input(connection):
                before_writing.get()()
                return connection
            connection.close()
        if protocol is not None:
            self._used.add(protocol)
        before_writing.get()()
        return connection


def _has_input(connection: Connection) -> bool:
    """Whether the socket has unread bytes or an unread end of stream."""
    if connection.transport is None:
        return True
    poll = select.poll()
    poll.register(connection.transport.get_extra_info("socket"), select.POLLIN)
    return bool(poll.poll(0))
