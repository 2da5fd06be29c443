"""The aiohttp session that the requests to iovox are made by. What answers is untrusted.

It is told what this needs and what costs CPU for nothing: no cookies, no variables of the
environment, no ``.netrc``, no decompression (the client's own is bounded), no time-outs but one
for connecting. aiohttp repeats idempotent requests by itself, and never a POST.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

KEEPALIVE = 2.0
"""Seconds that an idle connection is kept. Short: a request written into one that the server is
just closing is a lost answer, and nobody could tell whether the text was sent."""
MOST_HEADERS, LARGEST_HEADER = 64, 8190
"""Of one answer, in number and in bytes of one line."""

BeforeWriting = Callable[[], None]


def open_session(
    *,
    tls: ssl.SSLContext | None,
    proxy: URL | None,
    resolver: AbstractResolver | None,
    connect_timeout: float,
) -> aiohttp.ClientSession:
    """A session for the running event loop. ``connect_timeout`` (seconds) is per address, for TCP
    and TLS together.

    It has no headers of its own: aiohttp would send them, our keys, to a proxy with CONNECT, too.
    A request's ``trace_request_ctx`` is a ``BeforeWriting``: it is called once there is a
    connection and before the first byte of the request can have left.
    """
    trace = aiohttp.TraceConfig()
    # Named for what follows: aiohttp sends this signal, and then writes.
    trace.on_request_headers_sent.append(_call_before_writing)
    return aiohttp.ClientSession(
        connector=_Connector(
            ssl=tls or True,
            # Not aiohttp's choice, which depends on whether aiodns happens to be installed.
            resolver=resolver or aiohttp.ThreadedResolver(),
            keepalive_timeout=KEEPALIVE,
            limit=0,  # the client's pool has the limit: its waiters are bounded separately
        ),
        skip_auto_headers=("User-Agent",),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout),
        proxy=proxy,
        auto_decompress=False,
        max_line_size=LARGEST_HEADER,
        max_field_size=LARGEST_HEADER,
        max_headers=MOST_HEADERS,
        trace_configs=[trace],
    )


async def _call_before_writing(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _params: aiohttp.TraceRequestHeadersSentParams,
) -> None:
    before_writing: BeforeWriting = context.trace_request_ctx
    before_writing()


class _Connector(aiohttp.TCPConnector):
    """Gives out an idle connection only if nothing has come through it since its last answer.

    aiohttp gives out every one that the event loop has not seen closed. It would read a second
    answer to the last request (such as the 503 of a proxy that shuts down) as the first one to the
    next, and lose the answer to whatever is written into a close that is not read yet.
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
        """A connection into which nothing of this request is written yet."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None or protocol not in self._used:
                break
            if not protocol.should_close and not _has_input(connection):
                return connection
            connection.close()
        if protocol is not None:
            self._used.add(protocol)
        return connection


def _has_input(connection: Connection) -> bool:
    """Whether the socket has bytes, or an end, that the event loop has not read yet."""
    if connection.transport is None:
        return True
    poll = select.poll()
    poll.register(connection.transport.get_extra_info("socket"), select.POLLIN)
    return bool(poll.poll(0))
