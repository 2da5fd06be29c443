"""One send to iovox over HTTP: an sms_activity_id, or a typed error that says what is known.

iovox is trusted with our keys, over verified TLS only; what answers in its place is not trusted
with anything. Nothing here ever sends a request twice: httpx is told of no retries and follows no
redirects, and the only thing that comes after a failure is the error.

httpx is used by its transport, without a client on top, and one transport holds one connection.
Cookies, auth flows and redirects have no business here, and a shared pool looks at each of its
connections several times per request: at 32 sends at once that cost more than all the rest.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator

import httpx

from app.errors import NotSent, Refused
from app.iovox.callback import CallbackHeaders
from app.iovox.outcome import Reply, read_outcome
from app.iovox.xml import ANSWER_LIMIT, build_request
from app.model.message import Submission

KEEPALIVE = 2.0
"""Seconds that an idle connection is kept. Short: a request written into one that the server is
just closing is a lost answer, and nobody could tell whether the text was sent."""

# Raised before the first byte of a request is written, and never after.
_NOT_CONNECTED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


class IovoxClient:
    """Sends messages, at most ``max_connections`` at once.

    ``connect_timeout`` bounds each of: waiting for a free connection, TCP, and TLS.
    ``read_timeout`` bounds the exchange from the request's first byte to the answer's last, however
    slowly it drips. All in seconds. ``retry_on_500`` says that iovox's documented 500 means "not
    sent, try later".
    """

    def __init__(
        self,
        *,
        base_url: str,
        username: str,
        secure_key: str,
        callback_url: str,
        callback_headers: CallbackHeaders,
        connect_timeout: float,
        read_timeout: float,
        max_connections: int,
        retry_on_500: bool,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = _send_url(base_url)
        self._headers = _headers(self._url, username, secure_key)
        self._secure_key = secure_key
        self._callback_url = callback_url
        self._callback_headers = callback_headers
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._retry_on_500 = retry_on_500
        self._idle = [transport] * max_connections if transport else _transports(max_connections)
        self._transports = tuple(dict.fromkeys(self._idle))
        self._free = asyncio.Semaphore(max_connections)

    def __repr__(self) -> str:
        return f"IovoxClient({self._url.host})"

    @property
    def longest_wait(self) -> float:
        """Seconds that one send can take at most: a lease on it has to be longer."""
        return self._connect_timeout + self._longest_exchange

    @property
    def _longest_exchange(self) -> float:
        return 2 * self._connect_timeout + self._read_timeout

    async def send(self, submission: Submission) -> str:
        """Ask iovox to send one message, once; its sms_activity_id.

        Raises Refused, NotSent or OutcomeUnknown. Cancelling it after the request was written
        leaves the outcome unknown, too: that is for whoever cancels to record.
        """
        try:
            body = build_request(
                submission,
                callback_url=self._callback_url,
                callback_url_headers=self._callback_headers.mint(submission.message_id),
            )
        except ValueError as exc:
            raise Refused(str(exc)) from exc
        await self._wait_for_connection()
        transport = self._idle.pop()  # the one used last is the likeliest to be still connected
        try:
            reply = await self._exchange(transport, body)
        finally:
            self._idle.append(transport)
            self._free.release()
        return read_outcome(reply, retry_on_500=self._retry_on_500, redact=self._redact)

    async def aclose(self) -> None:
        """Close every connection; a send that is under way ends in OutcomeUnknown."""
        for transport in self._transports:
            await transport.aclose()

    async def _wait_for_connection(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(self._connect_timeout):
                await self._free.acquire()
        except TimeoutError as exc:
            raise NotSent("all connections to iovox are in use", reached=False) from exc

    async def _exchange(self, transport: httpx.AsyncBaseTransport, body: bytes) -> Reply:
        status = retry_after = None
        try:
            async with asyncio.timeout(self._longest_exchange) as deadline:
                request = httpx.Request(
                    "POST",
                    self._url,
                    headers=[*self._headers, (b"Content-Length", b"%d" % len(body))],
                    stream=_Body(body, deadline, self._read_timeout),
                    # No timers for single reads and writes: the deadline is over all of them.
                    extensions={"timeout": {"connect": self._connect_timeout}},
                )
                response = await transport.handle_async_request(request)
                try:
                    status = response.status_code
                    retry_after = response.headers.get("retry-after")
                    answer = _decode(response, await _read(response))
                finally:
                    await response.aclose()
        except _NOT_CONNECTED as exc:
            reason = f"iovox could not be reached: {type(exc).__name__}: {self._redact(str(exc))}"
            raise NotSent(reason, reached=False) from exc
        except Exception as exc:  # noqa: BLE001 - whatever it was, the request may be out there
            return Reply(status, retry_after=retry_after, flaw=_flaw(exc))
        return Reply(status, answer, retry_after)

    def _redact(self, text: str) -> str:
        return self._callback_headers.redact(text).replace(self._secure_key, "[secret]")


class _Body(httpx.AsyncByteStream):
    """A request's body. Its being asked for is the moment the request goes out: the time for
    connecting is over and the time for the exchange begins."""

    def __init__(self, body: bytes, deadline: asyncio.Timeout, seconds: float) -> None:
        self._body = body
        self._deadline = deadline
        self._seconds = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._deadline.reschedule(asyncio.get_running_loop().time() + self._seconds)
        yield self._body


class _TooLargeError(Exception):
    """The answer goes on past the limit."""


async def _read(response: httpx.Response) -> bytes:
    """The answer's bytes, of which no more than the limit are ever taken in."""
    body = bytearray()
    if isinstance(response.stream, httpx.AsyncByteStream):
        async for chunk in response.stream:
            body += chunk
            if len(body) > ANSWER_LIMIT:
                raise _TooLargeError
    return bytes(body)


def _decode(response: httpx.Response, body: bytes) -> bytes:
    """Undo gzip or deflate, which we asked not to get but a proxy may add; bounded likewise."""
    if response.headers.get("content-encoding", "identity").strip().lower() == "identity":
        return body
    plain = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, ANSWER_LIMIT + 1)
    if len(plain) > ANSWER_LIMIT:
        raise _TooLargeError
    return plain


def _flaw(exc: Exception) -> str:
    """What went wrong with an answer. The exception's own text may quote what was sent."""
    match exc:
        case TimeoutError() | httpx.TimeoutException():
            return "its answer did not come in time"
        case _TooLargeError():
            return f"its answer is larger than {ANSWER_LIMIT // 1024} KiB"
        case zlib.error():
            return "its answer could not be unpacked"
        case httpx.TransportError():
            return f"the connection failed before its answer was complete ({type(exc).__name__})"
    return f"its answer could not be read ({type(exc).__name__})"


def _send_url(base_url: str) -> httpx.URL:
    """The URL of sendSms. ValueError for a base that could never be reached."""
    try:
        url = httpx.URL(base_url.strip().rstrip("/") + "/SMS?v=3&method=sendSms")
        url.host.encode("idna")
    except (httpx.InvalidURL, UnicodeError) as exc:
        raise ValueError("the URL of iovox cannot be read") from exc
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise ValueError("the URL of iovox has to be http(s)://host[:port], without credentials")
    return url


def _headers(url: httpx.URL, username: str, secure_key: str) -> list[tuple[bytes, bytes]]:
    for what, value in (("username", username), ("secureKey", secure_key)):
        if not re.fullmatch("[!-~](?:[ -~]*[!-~])?", value):
            raise ValueError(f"the {what} for iovox has to be visible ASCII")
    return [
        (b"Host", url.netloc),
        (b"username", username.encode()),
        (b"secureKey", secure_key.encode()),
        (b"Content-Type", b"application/xml; charset=utf-8"),
        (b"Accept", b"application/xml"),
        (b"Accept-Encoding", b"identity"),
    ]


def _transports(number: int) -> list[httpx.AsyncBaseTransport]:
    """One per connection, all with one set of verified TLS settings.

    Their pools have no limit of their own: a request that is cancelled at the wrong instant makes
    httpcore's pool lose a connection's place for good, and with a limit of one that is the end.
    """
    context = httpx.create_ssl_context(verify=True)
    limits = httpx.Limits(keepalive_expiry=KEEPALIVE)
    return [
        httpx.AsyncHTTPTransport(verify=context, limits=limits, retries=0) for _ in range(number)
    ]
