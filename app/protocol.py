"""HTTP connections, as uvicorn serves them, but ended with more care.

The caller is the open internet: a connection that sends no request is closed after a bound. And it
is iovox, which documents no retry: a receipt sent down a connection that we are just closing is
lost. So when we are told to stop, idle connections stay open for a moment, and what still comes is
answered, with the word that it was the last.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_PATIENCE = 10.0
"""Seconds for a request's head to arrive, once it has begun to."""
REST_PATIENCE = 10.0
"""Seconds for what is left of a body once its request is answered: a refused one, mostly. It is
read and dropped, since closing on bytes unread resets a connection and takes the answer with it;
but not for as long as a byte comes now and then."""
LINGER = 1.0
"""Seconds that an idle connection is kept when we stop: far more than a request is on its way."""

_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"  # half a head
)


class PatientHttp(HttpToolsProtocol):
    """One connection."""

    head_patience = HEAD_PATIENCE
    rest_patience = REST_PATIENCE
    linger = LINGER
    _leaving = False
    _in_head = False
    _in_body = False
    _head_timed = False
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A caller connected; it may wait to ask as long as between two requests."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.timeout_keep_alive, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._cancel_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes of one request, or of several."""
        super().data_received(data)
        if self._in_head and not self._head_timed and self.parser is not None:
            self._cancel_timer()
            self._timer = self.loop.call_later(self.head_patience, self._give_up)
            self._head_timed = True

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole, and the request is begun."""
        self._in_head = self._head_timed = False
        self._in_body = True
        self._cancel_timer()
        super().on_headers_complete()
        if self._leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """The last byte of a request; for most of them the first bytes were with it."""
        self._in_body = False
        self._cancel_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A request is answered."""
        super().on_response_complete()
        if self._in_body and self._is_idle() and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.rest_patience, self._give_up)

    def shutdown(self) -> None:
        """We were told to stop: finish what is being answered, and linger where nothing is."""
        self._leaving = True
        if self._is_idle():
            self.loop.call_later(self.linger, self._close_if_idle)
        else:
            super().shutdown()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_if_idle(self) -> None:
        if self._is_idle() and not self.transport.is_closing():
            self.transport.close()

    def _give_up(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            if self._in_head:
                self.transport.write(_TOO_SLOW)
            self.transport.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
