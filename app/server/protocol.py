"""uvicorn's HTTP/1.1 connection with time-outs and graceful shutdown.

The client is the open internet: a connection that sends no request is closed after a time-out. And
it is iovox, which documents no retry: a receipt sent into a connection that we are closing is lost.
So on shutdown idle connections stay open for IDLE_GRACE, and a request that still arrives is
answered, with ``Connection: close``.

A client that half-closes the connection (shuts down its writing side) is answered, where uvicorn
would abort. One request of a connection is parsed and answered at a time, and none while its
responses are not read (see `app.server.reading`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from app.server.heads import TOO_LARGE, TOO_SLOW, content_length, without_upgrade
from app.server.http10 import without_chunks
from app.server.lingering import DISCARD_TIMEOUT, MAX_DISCARDED, LingeringTransport
from app.server.reading import CHUNKED_STEP, HEAD_END, Backlog, HeldFlow
from app.server.requests import ABORT_EXTENSION
from app.server.timers import Timer
from app.server.turns import turns_of

HEAD_TIMEOUT = 10.0
"""Seconds for a request's head to arrive, from its first byte."""
WRITE_TIMEOUT = 60.0
"""Seconds that a client may leave a response unread once the buffers for it are full."""
IDLE_GRACE = 3.0
"""Seconds that an idle connection stays open on shutdown: longer than a proxy keeps it unused
(deploy/nginx.conf: 2 s), so that the proxy closes it first. A request that comes at the very moment
when we close it would be lost, and a proxy repeats no POST that it has sent.
"""

MAX_UNPARSED = 64 * 1024
"""Bytes of a head, or behind a body. The parser copies all of an incomplete header for each piece
that arrives, so an endless one would block the event loop."""


class GracefulHttp(HttpToolsProtocol):
    """One connection."""

    head_timeout = HEAD_TIMEOUT
    discard_timeout = DISCARD_TIMEOUT
    idle_grace = IDLE_GRACE
    write_timeout = WRITE_TIMEOUT
    flow: HeldFlow
    _is_shutting_down = False
    _in_head = False
    _in_body = False
    _head_timer_set = False
    _unparsed = 0
    """Bytes fed to the parser since it last completed a head or a part of a body."""
    _body_left = 0
    """Bytes of the body that are still to come; 0 if its length is not declared."""
    _discarded = 0
    """Bytes of a body that were read and dropped since its response was complete."""
    _is_lingering = False
    """Whether the last response is complete: what still arrives is dropped without parsing it."""
    _is_eof = False
    """Whether the client has shut down its writing side."""
    _is_endless = False
    """Whether the response is a stream: then a client that shuts down its writing side has left."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._backlog = Backlog()
        self._turns = turns_of(self.server_state, self.loop)
        self._timer = Timer(self.loop)
        self._write_timer = Timer(self.loop)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected. Its first request has the keep-alive time-out to begin."""
        super().connection_made(transport)
        self.flow = HeldFlow(transport, self._turns)
        self._timer.set(self.timeout_keep_alive, self._time_out)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._timer.cancel()
        self._write_timer.cancel()
        self._backlog.clear()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, or as much of it as is one request."""
        if self._is_lingering:
            self._discard(len(data))
            self.flow.yield_turn()
            return
        if not self._backlog and self._may_parse() and data.count(HEAD_END) <= 2:
            self._parse(data)  # nearly always: the end of a head, and of a chunked body
        else:
            self._backlog.add(data)
            self._parse_backlog()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client has shut down its writing side: stay open (True) until all is answered.

        It may also have closed the connection, which shows only when something is written.
        """
        self._is_eof = True
        has_half_close = self.scheme != "https"  # TLS has none
        if self._is_lingering or self._is_endless or not has_half_close:
            return False
        self._unset_keepalive_if_required()
        return not self._is_finished()

    def pause_writing(self) -> None:
        """The client does not read its responses: parse nothing more of it until it does."""
        super().pause_writing()
        self.flow.hold(held=True)
        self._write_timer.set(self.write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read what was waiting."""
        super().resume_writing()
        self._write_timer.cancel()
        self._parse_backlog()

    def _may_parse(self) -> bool:
        """Whether the next bytes may go to the parser: not while they could begin a second request,
        or while the client leaves responses unread.
        """
        return (self._in_body or self._is_idle()) and not self.flow.write_paused

    def _parse_backlog(self) -> None:
        while self._backlog and self._may_parse() and not self.transport.is_closing():
            if self._in_body:
                self._parse(self._backlog.take(self._body_left or CHUNKED_STEP))
            else:
                self._parse(self._backlog.take_to_head_end())
        if self._is_eof and self._is_finished():
            self.transport.close()
        if self.transport.is_closing():
            self._backlog.clear()
        else:
            self.flow.hold(held=bool(self._backlog) or self.flow.write_paused)

    def _is_finished(self) -> bool:
        """Whether a client that sends nothing more has had all its responses."""
        return not self._backlog and not self.pipeline and (self._in_body or self._is_idle())

    def _parse(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._unparsed += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
            return
        if self._unparsed > MAX_UNPARSED:
            self._refuse_head(TOO_LARGE)
            self.transport.close()
            return
        if self._in_head and not self._head_timer_set and self.parser is not None:
            self._timer.set(self.head_timeout, self._time_out)
            self._head_timer_set = True

    def on_message_begin(self) -> None:
        """The first byte of a request. Its scope is built only if it takes the ASGI path."""
        self._in_head = True
        self._unparsed = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. Trailers are ignored: the request is authenticated before its body."""
        if self._in_body:
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._in_head = self._head_timer_set = False
        self._in_body = True
        self._discarded = 0
        self._body_left = content_length(self.headers)
        self._unparsed = 0
        self._timer.cancel()
        if self.parser.should_upgrade():
            return  # the parser stops at the body with HttpParserUpgrade: see _decline_upgrade
        self._begin_request()

    def on_body(self, body: bytes) -> None:
        """Bytes of a body."""
        self._unparsed = 0
        self._body_left = max(0, self._body_left - len(body))
        self._take_body(body)

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._in_body = False
        self._unparsed = 0
        self._timer.cancel()
        if not self.parser.should_upgrade():
            self._end_request()

    def on_response_complete(self) -> None:
        """The response is written: go on with the next request, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing() or self._is_lingering:
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._backlog:
            self.loop.call_soon(self._parse_backlog)  # after what other connections have to do
        elif self._is_eof:
            self.transport.close()
            return
        else:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        if self._in_body and self._is_idle() and not self.transport.is_closing():
            self._timer.set(self.discard_timeout, self._time_out)

    def shutdown(self) -> None:
        """Shut down: finish the response under way; close an idle connection after IDLE_GRACE."""
        self._is_shutting_down = True
        if self._is_idle():
            self.loop.call_later(self.idle_grace, self._close_if_idle)
        else:
            super().shutdown()

    def _decline_upgrade(self, rest: bytes) -> None:
        """Ignore an ``Upgrade`` header, as HTTP allows; some clients send one with every request.

        The parser has stopped at the body, so a new one is fed the head again, without the header,
        and then the bytes behind the head.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":  # there is no request without the upgrade
            self.send_400_response("Invalid HTTP request received.")
            return
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._parse(without_upgrade(method, self.url, self.headers) + rest)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._turns.begin(partial(self._start_at_once, cycle, app))

    def _start_at_once(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] != "1.1":
            app = without_chunks(app, cycle)
        super()._start_asgi_task(cycle, app)

    def _begin_request(self) -> None:
        """Its head is complete."""
        self._begin_cycle()

    def _take_body(self, body: bytes) -> None:
        super().on_body(body)
        if self.cycle.response_complete:
            self._discarded += len(body)
            self.flow.yield_turn()
            if self._discarded > MAX_DISCARDED:
                self.transport.close()

    def _end_request(self) -> None:
        """Its last byte has come."""
        super().on_message_complete()

    def _begin_cycle(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)  # the list that the scope refers to
        self._is_endless = False
        self.scope["extensions"] = {
            ABORT_EXTENSION: {"abort": self.transport.abort, "endless": self._set_endless}
        }
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.transport = LingeringTransport(  # type: ignore[assignment]
                self.transport, self._close_after_response
            )
            if self._is_shutting_down:
                self.cycle.keep_alive = False

    def _close_after_response(self) -> None:
        """Close the connection, but let a client that is still writing get the response."""
        if not self._in_body or self._is_eof or self.transport.is_closing():
            self.transport.close()
        else:
            self._linger()

    def _linger(self) -> None:
        self._is_lingering = True
        self._body_left = max(0, self._body_left - len(self._backlog))
        self._backlog.clear()
        self.flow.hold(held=False)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer.set(self.discard_timeout, self.transport.close)

    def _discard(self, size: int) -> None:
        """Count bytes that are dropped, and close after the last one of the body."""
        self._discarded += size
        is_whole = self._body_left and self._discarded >= self._body_left
        if is_whole or self._discarded > MAX_DISCARDED:
            self.transport.close()

    def _set_endless(self) -> None:
        self._is_endless = True

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_if_idle(self) -> None:
        """Not in the middle of a head: its request is answered, with ``Connection: close``."""
        if self._is_idle() and not self._in_head and not self.transport.is_closing():
            self.transport.close()

    def _refuse_head(self, response: bytes) -> None:
        if self._in_head and not self.transport.is_closing():
            self.transport.write(response)

    def _time_out(self) -> None:
        if self.transport.is_closing():
            return
        self._refuse_head(TOO_SLOW)
        if self._in_head:
            self._linger()
        else:
            self.transport.close()
