"""HTTP connections, as uvicorn serves them, but ended with more care.

The caller is the open internet: a connection that sends no request is closed after a bound. And it
is iovox, which documents no retry: a receipt sent down a connection that we are just closing is
lost. So when we are told to stop, idle connections stay open for a moment, and what still comes is
answered, with the word that it was the last.

An application may name paths in ``complete_posts``. A POST to one whose last byte came with its first
is given to the function there as it is: a task, a scope and an event for each would cost more
than parsing the request and keeping a receipt together. Whatever comes in pieces, or while another
request of its connection is being answered, goes the usual way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.server.calls import Headers

HEAD_TIMEOUT = 10.0
"""Seconds for a request's head to arrive, once it has begun to."""
DISCARD_TIMEOUT = 10.0
"""Seconds for what is left of a body once its request is answered: a refused one, mostly. It is
read and dropped, since closing on bytes unread resets a connection and takes the answer with it;
but not for as long as a byte comes now and then."""
IDLE_GRACE = 1.0
"""Seconds that an idle connection is kept when we stop: far more than a request is on its way."""

MAX_UNPARSED = 64 * 1024
"""Bytes of a head, or behind a body. The parser copies all of a header for each piece of it that
comes, so that one without an end would keep everybody else waiting."""

ABORT_EXTENSION = "iovox-receipts.abort"
"""ASGI knows no way to drop a connection whose reader takes nothing: uvicorn would wait until it
does, at shutdown too. So a request's scope has a function for it among its extensions."""

_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"  # half a head
)
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"connection: close\r\ncontent-length: 0\r\n\r\n"
)


class _Nobody:
    """Stands where uvicorn would wake a request's task up."""

    def set(self) -> None:
        """Wake nobody up."""


_NOBODY = _Nobody()


class _Built:
    of: object = None
    answer = b""


class CompleteRequest:
    """A request that came whole, and the way to answer it.

    To uvicorn it is what is being answered on the connection, like a cycle of its own.
    """

    __slots__ = (
        "_connection", "body", "client", "disconnected", "headers", "keep_alive", "message_event",
        "response_complete",
    )  # fmt: skip

    def __init__(self, connection: GracefulHttp, body: bytes, *, keep_alive: bool) -> None:
        self._connection = connection
        self.headers = connection.headers
        self.body = body
        self.client = connection.client
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.message_event = _NOBODY

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Write the answer, unless the caller has gone."""
        self.response_complete = True
        self._connection.answered(self, status, headers, body)


class GracefulHttp(HttpToolsProtocol):
    """One connection."""

    head_timeout = HEAD_TIMEOUT
    discard_timeout = DISCARD_TIMEOUT
    idle_grace = IDLE_GRACE
    _leaving = False
    _in_head = False
    _in_body = False
    _head_timed = False
    _unparsed = 0
    """Bytes since something was whole: a head, or a part of a body."""
    _timer: asyncio.TimerHandle | None = None
    _held: list[bytes] | None = None
    """The body, so far, of a request that may turn out to be whole."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        application: object = self.app
        posts: Mapping[bytes, Callable[[CompleteRequest], None]] = getattr(application, "complete_posts", {})
        self._whole_posts = posts

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A caller connected; it may wait to ask as long as between two requests."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.timeout_keep_alive, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._cancel_timer()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Some bytes of one request, or of several."""
        self._unset_keepalive_if_required()
        self._unparsed += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._held = None
            self.send_400_response("Invalid HTTP request received.")
            return
        if self._held is not None:
            self._go_the_usual_way()
        if self._unparsed > MAX_UNPARSED:
            self._give_up(_TOO_LARGE)
            return
        if self._in_head and not self._head_timed and self.parser is not None:
            self._cancel_timer()
            self._timer = self.loop.call_later(self.head_timeout, self._give_up)
            self._head_timed = True

    def on_message_begin(self) -> None:
        """The first byte of a request. Its scope is made when it is needed."""
        self._in_head = True
        self._unparsed = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. Those behind a body in chunks are not: who asks is decided before it."""
        if self._in_body:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole, and the request is begun."""
        self._in_head = self._head_timed = False
        self._in_body = True
        self._unparsed = 0
        self._cancel_timer()
        if self.parser.should_upgrade():
            return  # the parser takes the body for another protocol, and breaks off: see below
        if self.url in self._whole_posts and self._may_be_whole():
            self._held = []
        else:
            self._begin_cycle()

    def on_body(self, body: bytes) -> None:
        """Some bytes of a body."""
        self._unparsed = 0
        if self._held is None:
            super().on_body(body)
        else:
            self._held.append(body)

    def on_message_complete(self) -> None:
        """The last byte of a request; for most of them the first bytes were with it."""
        self._in_body = False
        self._unparsed = 0
        self._cancel_timer()
        if self.parser.should_upgrade():
            return
        if self._held is None:
            super().on_message_complete()
            return
        keep_alive = not self._leaving and self.parser.should_keep_alive()
        call = CompleteRequest(self, b"".join(self._held), keep_alive=keep_alive)
        self._held = None
        self.cycle = call  # type: ignore[assignment]
        self._whole_posts[self.url](call)

    def answered(self, call: CompleteRequest, status: int, headers: Headers, body: bytes) -> None:
        """Write what a call is answered."""
        if call.disconnected or self.transport.is_closing():
            return
        if status == 200 and call.keep_alive and not headers and not body:
            self.transport.write(self._empty_200())
            self.on_response_complete()
            return
        lines = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        if not call.keep_alive:
            lines.append(b"connection: close\r\n")
        lines += (b"content-length: %d\r\n\r\n" % len(body), body)
        self.transport.write(b"".join(lines))
        if not call.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """A request is answered."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        if self._in_body and self._is_idle() and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.discard_timeout, self._give_up)

    def shutdown(self) -> None:
        """We were told to stop: finish what is being answered, and keep idle connections for a moment."""
        self._leaving = True
        if self._is_idle():
            self.loop.call_later(self.idle_grace, self._close_if_idle)
        else:
            super().shutdown()

    def _empty_200(self) -> bytes:
        """The most frequent answer, made once for every second's Date."""
        headers = self.server_state.default_headers
        if _Built.of is not headers:
            lines = (b"%s: %s\r\n" % pair for pair in headers)
            _Built.of = headers
            _Built.answer = b"".join((STATUS_LINE[200], *lines, b"content-length: 0\r\n\r\n"))
        return _Built.answer

    def _may_be_whole(self) -> bool:
        """Whether a request may be answered without a task, should its body be here."""
        return (
            self._is_idle()
            and not self.expect_100_continue
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
        )

    def _go_the_usual_way(self) -> None:
        """Something of the body is still to come, or was not HTTP."""
        parts, self._held = self._held or [], None
        if self.parser is None or self.transport.is_closing():
            return
        self._begin_cycle()
        for part in parts:
            super().on_body(part)

    def _decline_upgrade(self, rest: bytes) -> None:
        """Go on as if no other protocol had been offered, as HTTP allows.

        Some clients offer one with every request. The parser has skipped the body for it, so it is
        given the head once more, without the offer, and what came after the head.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":  # is nothing but an upgrade
            self.send_400_response("Invalid HTTP request received.")
            return
        lines = [b"%s %s HTTP/1.1" % (method, self.url)]
        for name, value in self.headers:
            if name == b"connection" and b"close" in value.lower():
                lines.append(b"connection: close")
            elif name not in (b"connection", b"upgrade"):
                lines.append(b"%s: %s" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"\r\n".join([*lines, b"", rest]))

    def _begin_cycle(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)  # which the scope has by now
        self.scope["extensions"] = {ABORT_EXTENSION: {"abort": self.transport.abort}}
        super().on_headers_complete()
        if self._leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_if_idle(self) -> None:
        if self._is_idle() and not self.transport.is_closing():
            self.transport.close()

    def _give_up(self, why: bytes = _TOO_SLOW) -> None:
        self._timer = None
        if not self.transport.is_closing():
            if self._in_head:
                self.transport.write(why)
            self.transport.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
