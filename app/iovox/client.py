"""One send to iovox over HTTP: an sms_activity_id, or a typed error that says what is known.

iovox is trusted with our keys, over verified TLS only; what answers in its place is not trusted
with anything. Nothing here ever sends a request twice or follows a redirect: the only thing that
comes after a failure is the error.

No error is chained to aiohttp's: those carry the request's headers, and a proxy's password.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import zlib
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from app.errors import NotSent, Refused
from app.iovox.callback import CallbackHeaders
from app.iovox.outcome import Reply, read_outcome
from app.iovox.session import open_session
from app.iovox.tls import tls_context
from app.iovox.xml import ANSWER_LIMIT, build_request
from app.model.message import Submission


class IovoxClient:
    """Sends messages, at most ``max_connections`` at once.

    ``pool_timeout`` bounds the wait for a free connection. ``connect_timeout`` bounds TCP and TLS
    with one address of iovox, and twice that all of connecting: further addresses, the name's
    resolution, a proxy's CONNECT. ``read_timeout`` bounds the exchange from the request's first
    byte to the answer's last, however slowly it drips. All in seconds. ``retry_on_500`` says that
    iovox's documented 500 means "not sent, try later".

    ``tls`` is for https, by default the system's roots; ``proxy`` is an HTTP proxy for every
    request; ``resolver`` stands in for the system's.
    """

    def __init__(
        self,
        *,
        base_url: str,
        username: str,
        secure_key: str,
        callback_url: str,
        callback_headers: CallbackHeaders,
        pool_timeout: float,
        connect_timeout: float,
        read_timeout: float,
        max_connections: int,
        retry_on_500: bool,
        tls: ssl.SSLContext | None = None,
        proxy: URL | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._url = _send_url(base_url)
        self._headers = _headers(username, secure_key)
        self._secure_key = secure_key
        self._callback_url = callback_url
        self._callback_headers = callback_headers
        self._pool_timeout = pool_timeout
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._retry_on_500 = retry_on_500
        self._tls = tls or (tls_context() if self._url.scheme == "https" else None)
        self._proxy = proxy
        self._resolver = resolver
        self._pool = asyncio.Semaphore(max_connections)
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"IovoxClient({self._url.host})"

    @property
    def longest_wait(self) -> float:
        """Seconds that one send can take at most: a lease on it has to be longer."""
        return self._pool_timeout + 2 * self._connect_timeout + self._read_timeout

    async def send(
        self, submission: Submission, *, throttle: Callable[[], Awaitable[None]] | None = None
    ) -> str:
        """Ask iovox to send one message, once; its sms_activity_id.

        ``throttle`` is awaited with a free connection in hand, before anything is written.

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
        await self._acquire()
        try:
            if throttle is not None:
                await throttle()
            reply = await self._exchange(body)
        finally:
            self._pool.release()
        if isinstance(reply, NotSent):
            raise reply
        return read_outcome(reply, retry_on_500=self._retry_on_500, redact=self._redact)

    async def aclose(self) -> None:
        """Close every connection; a send that is under way ends in OutcomeUnknown, a later one in
        NotSent.
        """
        self._is_closed = True
        if self._session is not None:
            await self._session.close()

    async def _acquire(self) -> None:
        try:
            async with asyncio.timeout(self._pool_timeout):
                await self._pool.acquire()
        except TimeoutError as exc:
            why = "all connections to iovox are in use"
            raise NotSent(why, reached=False, busy=True) from exc

    async def _exchange(self, body: bytes) -> Reply | NotSent:
        """What came of one request; NotSent where not one byte of it was written."""
        loop = asyncio.get_running_loop()
        written = False
        status = retry_after = None

        def before_writing() -> None:
            """The time for connecting is over, the time for the exchange begins."""
            nonlocal written
            deadline.reschedule(loop.time() + self._read_timeout)
            written = True

        try:
            async with (
                asyncio.timeout(2 * self._connect_timeout) as deadline,
                self._opened().post(
                    self._url,
                    headers=self._headers,
                    data=body,
                    allow_redirects=False,
                    trace_request_ctx=before_writing,
                ) as response,
            ):
                status = response.status
                retry_after = response.headers.get("Retry-After")
                answer = await _read(response)
        except Exception as exc:  # noqa: BLE001 - whatever it was, the request may be out there
            if written:
                return Reply(status, retry_after=retry_after, flaw=_flaw(exc))
            why = self._redact(self._why_unreached(exc))
            return NotSent(f"iovox could not be reached: {why}", reached=False)
        return Reply(status, answer, retry_after)

    def _opened(self) -> aiohttp.ClientSession:
        """The session, which belongs to the event loop of the first send."""
        if self._is_closed:
            raise _ClosedError
        if self._session is None:
            self._session = open_session(
                tls=self._tls,
                proxy=self._proxy,
                resolver=self._resolver,
                connect_timeout=self._connect_timeout,
            )
        return self._session

    def _why_unreached(self, exc: Exception) -> str:
        """In words. aiohttp's own may quote a proxy's URL or a request's headers."""
        match exc:
            case TimeoutError():
                return f"ConnectTimeout: no connection in {self._connect_timeout:g} s"
            case aiohttp.ClientHttpProxyError():
                return f"the proxy refused with HTTP {exc.status}"
            case aiohttp.ClientConnectorCertificateError():
                return f"{exc.host}:{exc.port}: {exc.certificate_error}"
            case aiohttp.ClientConnectorError():
                return f"{exc.host}:{exc.port}: {exc.os_error}"
            case _ClosedError():
                return "the client is closed"
        return f"the connection failed ({type(exc).__name__})"

    def _redact(self, text: str) -> str:
        return self._callback_headers.redact(text).replace(self._secure_key, "[secret]")


class _ClosedError(Exception):
    """The client was closed."""


class _TooLargeError(Exception):
    """The answer goes on past the limit."""


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The answer's body, of which no more is taken in than the limit and the chunk beyond it."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_LIMIT:
            raise _TooLargeError
    if response.headers.get("Content-Encoding", "identity").strip().lower() == "identity":
        return bytes(body)
    return _decode(body)


def _decode(body: bytearray) -> bytes:
    """Undo gzip or deflate, which we asked not to get but a proxy may add; bounded likewise.

    aiohttp's own would lose the status where the coding is one that it does not know.
    """
    plain = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, ANSWER_LIMIT + 1)
    if len(plain) > ANSWER_LIMIT:
        raise _TooLargeError
    return plain


def _flaw(exc: Exception) -> str:
    """What went wrong with an answer. The exception's own text may quote what was sent."""
    match exc:
        case TimeoutError():
            return "its answer did not come in time"
        case _TooLargeError():
            return f"its answer is larger than {ANSWER_LIMIT // 1024} KiB"
        case zlib.error():
            return "its answer could not be unpacked"
        case aiohttp.ClientError():
            why = type(exc).__name__
            return f"the connection failed before its answer was complete ({why})"
    return f"its answer could not be read ({type(exc).__name__})"


def _send_url(base_url: str) -> URL:
    """The URL of sendSms. ValueError for a base that could never be reached."""
    try:
        url = URL(base_url.strip().rstrip("/") + "/SMS?v=3&method=sendSms")
        (url.host or "").encode("idna")
    except ValueError as exc:
        raise ValueError("the URL of iovox cannot be read") from exc
    if url.scheme not in ("http", "https") or not url.host or url.user or url.password:
        raise ValueError("the URL of iovox has to be http(s)://host[:port], without credentials")
    return url


def _headers(username: str, secure_key: str) -> dict[str, str]:
    for what, value in (("username", username), ("secureKey", secure_key)):
        if not re.fullmatch("[!-~](?:[ -~]*[!-~])?", value):
            raise ValueError(f"the {what} for iovox has to be visible ASCII")
    return {
        "username": username,
        "secureKey": secure_key,
        "Content-Type": "application/xml; charset=utf-8",
        "Accept": "application/xml",
        "Accept-Encoding": "identity",
    }
