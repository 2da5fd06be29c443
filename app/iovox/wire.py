"""HTTP/1.1 to iovox over one connection, one request at a time. What answers is untrusted.

httpx costs 700 microseconds of CPU a send, several times all the rest of one; this a tenth of it,
because it knows a single kind of request. It is strict where a general client is lenient: a
connection is used again only where nothing at all is odd about it, and nothing is written twice.

Promise: ``NotConnectedError`` is raised only where not one byte of a request was written. Whatever
is raised otherwise, the request may have arrived.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from typing import Protocol, cast

import httptools

from app.parts.alarm import Alarm

Headers = list[tuple[bytes, bytes]]

LARGEST_HEAD = 64 * 1024
"""Bytes of an answer's status line and headers, interim answers included."""
_BODILESS = frozenset({204, 304})


class NotConnectedError(Exception):
    """There is no connection, and nothing was written. ``reason`` quotes nothing of a request."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LostAnswerError(Exception):
    """The request was written, and then no complete answer in HTTP came."""


class Wire(Protocol):
    """A way to iovox for one request at a time: ``ask``, ``answer``, ``release``."""

    async def ask(self, body: bytes) -> tuple[int, Headers]:
        """Send a request; the status and headers of its answer. Raises TimeoutError."""

    async def answer(self) -> bytes:
        """The body of the answer. Raises TimeoutError, reckoned from the request's first byte."""

    async def release(self) -> None:
        """Done with the answer, read or not."""

    async def aclose(self) -> None:
        """Close; a request that is under way fails."""


class DirectWire:
    """A connection that is made when it is needed, and kept while it is as good as new.

    ``head`` is the request's head but for its Content-Length. ``connect_timeout`` is meant for each
    of TCP and TLS; ``read_timeout`` lasts from a request's first byte to its answer's last; an idle
    connection is kept for ``keepalive``. All in seconds. Of a body at most one byte more than
    ``largest_body`` is handed on: enough to see that it is too large.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        head: bytes,
        connect_timeout: float,
        read_timeout: float,
        keepalive: float,
        largest_body: int,
    ) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._head = head
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._keepalive = keepalive
        self._largest_body = largest_body
        self._connection: _Connection | None = None
        self._alarm = Alarm(self._time_is_over)

    async def ask(self, body: bytes) -> tuple[int, Headers]:
        """Raises NotConnectedError; or LostAnswerError, as does a cancelled one in truth; or
        TimeoutError.
        """
        connection = self._connection = self._idle() or await self._connect()
        request = b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(body), body)
        self._alarm.set(self._read_timeout)
        connection.send(request, self._largest_body)
        try:
            return await connection.head
        except BaseException:
            connection.abort()
            raise

    async def answer(self) -> bytes:
        """Raises LostAnswerError or TimeoutError."""
        return await cast("_Connection", self._connection).body

    async def release(self) -> None:
        """Keep the connection for a moment, or close it where anything about it is odd."""
        if self._connection is not None and self._connection.finish():
            self._alarm.set(self._keepalive)
        else:
            self._alarm.stop()

    async def aclose(self) -> None:
        """Close the connection."""
        self._alarm.close()
        if self._connection is not None:
            self._connection.abort()

    def _time_is_over(self) -> None:
        """For the answer, or for keeping an idle connection."""
        if self._connection is not None:
            self._connection.give_up()

    def _idle(self) -> _Connection | None:
        self._alarm.stop()
        connection = self._connection
        if connection is None or not connection.usable:
            return None
        if connection.has_news():
            connection.abort()
            return None
        return connection

    async def _connect(self) -> _Connection:
        self._connection = None
        try:
            async with asyncio.timeout(self._connect_timeout * (2 if self._context else 1)):
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection,
                    self._host,
                    self._port,
                    ssl=self._context,
                    server_hostname=self._host if self._context else None,
                )
        except TimeoutError as error:
            raise NotConnectedError(
                f"ConnectTimeout: no connection in {self._connect_timeout:g} s"
            ) from error
        except (OSError, UnicodeError) as error:  # a broken TLS handshake is an OSError, too
            raise NotConnectedError(str(error) or type(error).__name__) from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection, and the exchange that is under way on it, if any."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._news: select.poll | None = None
        self._exchanging = False
        self._gone = False

    @property
    def usable(self) -> bool:
        """Whether a request may be written into it, as far as the event loop has noticed."""
        return not (self._gone or self._transport is None or self._transport.is_closing())

    def has_news(self) -> bool:
        """Whether something came that the event loop has not seen yet: a close, as a rule."""
        return bool(self._news and self._news.poll(0))

    def send(self, request: bytes, largest_body: int) -> None:
        """Write a request; ``head`` is then the answer's head, and ``body`` its whole body."""
        loop = asyncio.get_running_loop()
        self.head: asyncio.Future[tuple[int, Headers]] = loop.create_future()
        self.body: asyncio.Future[bytes] = loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._headers: Headers = []
        self._head_size = 0
        self._received = bytearray()
        self._largest_body = largest_body
        self._ends_with_connection = False  # the answer has no length of its own
        self._lasts = False  # the other side means to keep the connection
        self._exchanging = True
        cast("asyncio.Transport", self._transport).write(request)

    def finish(self) -> bool:
        """End the exchange. False, and closed, where the connection may not be used again."""
        complete = self.body.done() and not self.body.cancelled() and not self.body.exception()
        if not (complete and self._lasts and self.usable):
            self.abort()
        return self.usable

    def give_up(self) -> None:
        """Close, as whoever waits for an answer is told that it did not come in time."""
        self._fail(TimeoutError())
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._fail(LostAnswerError("the connection was closed on our side"))
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._news = select.poll()
        self._news.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if not self._exchanging:  # nobody asked for anything
            self.abort()
            return
        if not self.head.done():
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._break_off(f"it is no answer in HTTP ({type(error).__name__})")
        if not self.head.done() and self._head_size > LARGEST_HEAD:
            self._break_off("its head has no end")

    def eof_received(self) -> None:
        if self._exchanging and self._ends_with_connection and not self.body.done():
            self._complete()
        self._break_off("closed before the answer was complete")

    def connection_lost(self, error: Exception | None) -> None:
        why = type(error).__name__ if error else "closed"
        self._fail(LostAnswerError(f"lost: {why}"))

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.body.done():  # a second answer to one request
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self.head.done():
            return
        names = {name for name, _ in self._headers}
        has_length = names & {b"content-length", b"transfer-encoding"}
        self._ends_with_connection = status not in _BODILESS and not has_length
        self.head.set_result((status, self._headers))

    def on_body(self, data: bytes) -> None:
        room = self._largest_body + 1 - len(self._received)
        self._received += data[:room]
        if len(self._received) > self._largest_body and not self.body.done():
            self._complete()
            self.abort()

    def on_message_complete(self) -> None:
        if not self.head.done():  # an interim answer; the real one is yet to come
            self._headers = []
        elif not self.body.done():
            self._lasts = bool(self._parser.should_keep_alive())
            self._complete()

    def _complete(self) -> None:
        self.body.set_result(bytes(self._received))
        self._exchanging = False

    def _break_off(self, why: str) -> None:
        self._fail(LostAnswerError(why))
        self.abort()

    def _fail(self, error: Exception) -> None:
        self._gone = True
        if not self._exchanging:
            return
        self._exchanging = False
        for future in (self.head, self.body):
            if not future.done():
                future.set_exception(error)
                future.exception()  # seen: whoever waits for the other one is told already
