"""One send to iovox over HTTP: an sms_activity_id, or a typed error that says what is known.

iovox is trusted with our keys, over verified TLS only; what answers in its place is not trusted
with anything. Nothing here ever sends a request twice or follows a redirect: the only thing that
comes after a failure is the error.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections import deque
from collections.abc import Awaitable, Callable

import httpx

from app.errors import NotSent, Refused
from app.iovox.borrowed import BorrowedWire
from app.iovox.callback import CallbackHeaders
from app.iovox.outcome import Reply, read_outcome
from app.iovox.wire import DirectWire, Headers, LostAnswerError, NotConnectedError, Wire
from app.iovox.xml import ANSWER_LIMIT, build_request
from app.model.message import Submission

KEEPALIVE = 2.0
"""Seconds that an idle connection is kept. Short: a request written into one that the server is
just closing is a lost answer, and nobody could tell whether the text was sent."""


class IovoxClient:
    """Sends messages, at most ``max_connections`` at once.

    ``busy_timeout`` bounds the wait for a free connection, ``connect_timeout`` each of TCP and TLS.
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
        busy_timeout: float,
        connect_timeout: float,
        read_timeout: float,
        max_connections: int,
        retry_on_500: bool,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = _send_url(base_url)
        headers = _headers(self._url, username, secure_key)
        self._secure_key = secure_key
        self._callback_url = callback_url
        self._callback_headers = callback_headers
        self._busy_timeout = busy_timeout
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._retry_on_500 = retry_on_500
        self._wires = (
            _wires(max_connections, self._url, headers, connect_timeout, read_timeout)
            if transport is None
            else [
                BorrowedWire(
                    transport,
                    url=self._url,
                    headers=headers,
                    connect_timeout=connect_timeout,
                    read_timeout=read_timeout,
                    largest_body=ANSWER_LIMIT,
                )
                for _ in range(max_connections)
            ]
        )
        self._idle = list(self._wires)
        self._waiting: deque[asyncio.Future[Wire]] = deque()

    def __repr__(self) -> str:
        return f"IovoxClient({self._url.host})"

    @property
    def longest_wait(self) -> float:
        """Seconds that one send can take at most: a lease on it has to be longer."""
        return self._busy_timeout + 2 * self._connect_timeout + self._read_timeout

    async def send(
        self, submission: Submission, *, in_turn: Callable[[], Awaitable[None]] | None = None
    ) -> str:
        """Ask iovox to send one message, once; its sms_activity_id.

        ``in_turn`` is awaited with a free connection in hand, before anything is written.

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
        # The one used last is the likeliest to be still connected.
        wire = self._idle.pop() if self._idle else await self._wait_for_wire()
        try:
            if in_turn is not None:
                await in_turn()
            reply = await self._exchange(wire, body)
        finally:
            self._give_back(wire)
        return read_outcome(reply, retry_on_500=self._retry_on_500, redact=self._redact)

    async def aclose(self) -> None:
        """Close every connection; a send that is under way ends in OutcomeUnknown."""
        for wire in self._wires:
            await wire.aclose()

    async def _wait_for_wire(self) -> Wire:
        wire: asyncio.Future[Wire] = asyncio.get_running_loop().create_future()
        self._waiting.append(wire)
        try:
            async with asyncio.timeout(self._busy_timeout):
                return await wire
        except BaseException as exc:
            if wire.done() and not wire.cancelled():  # it came at the last moment
                self._give_back(wire.result())
            if not isinstance(exc, TimeoutError):
                raise
            why = "all connections to iovox are in use"
            raise NotSent(why, reached=False, busy=True) from exc

    def _give_back(self, wire: Wire) -> None:
        """To whoever has waited longest, or to those that are idle."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(wire)
                return
        self._idle.append(wire)

    async def _exchange(self, wire: Wire, body: bytes) -> Reply:
        status = retry_after = None
        try:
            try:
                status, headers = await wire.ask(body)
                retry_after = _value(headers, b"retry-after")
                answer = _decode(headers, await wire.answer())
            finally:
                await wire.release()
        except NotConnectedError as exc:
            reason = f"iovox could not be reached: {self._redact(exc.reason)}"
            raise NotSent(reason, reached=False) from exc
        except Exception as exc:  # noqa: BLE001 - whatever it was, the request may be out there
            return Reply(status, retry_after=retry_after, flaw=_flaw(exc))
        return Reply(status, answer, retry_after)

    def _redact(self, text: str) -> str:
        return self._callback_headers.redact(text).replace(self._secure_key, "[secret]")


class _TooLargeError(Exception):
    """The answer goes on past the limit."""


def _value(headers: Headers, wanted: bytes) -> str | None:
    for name, value in headers:
        if name == wanted:
            return value.decode("latin-1").strip()
    return None


def _decode(headers: Headers, body: bytes) -> bytes:
    """Undo gzip or deflate, which we asked not to get but a proxy may add; bounded likewise."""
    if len(body) > ANSWER_LIMIT:
        raise _TooLargeError
    if (_value(headers, b"content-encoding") or "identity").lower() == "identity":
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
        case LostAnswerError():
            return f"the connection failed before its answer was complete ({exc})"
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


def _headers(url: httpx.URL, username: str, secure_key: str) -> Headers:
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


def _wires(
    number: int, url: httpx.URL, headers: Headers, connect_timeout: float, read_timeout: float
) -> list[Wire]:
    """All with one set of verified TLS settings."""
    is_https = url.scheme == "https"
    context = httpx.create_ssl_context(verify=True)
    context.set_alpn_protocols(["http/1.1"])
    head = b"POST %b HTTP/1.1\r\n" % url.raw_path
    head += b"".join(b"%b: %b\r\n" % header for header in headers)
    return [
        DirectWire(
            host=url.host,
            port=url.port or (443 if is_https else 80),
            context=context if is_https else None,
            head=head,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            keepalive=KEEPALIVE,
            largest_body=ANSWER_LIMIT,
        )
        for _ in range(number)
    ]
