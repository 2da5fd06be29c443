"""The HTTP client for iovox's sendSms. Keys are sent over verified TLS; responses are untrusted.

A proxy may respond in iovox's place, so every response is bounded and parsed defensively. No
request is retried and no redirect followed: a second request could be a second text.

No error is chained to aiohttp's, which carry the request's headers and a proxy's password.
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
from app.iovox.outcome import HttpResponse, read_outcome
from app.iovox.session import USER_AGENT, before_writing, open_session
from app.iovox.tls import tls_context
from app.iovox.xml import MAX_RESPONSE_SIZE, build_request
from app.model.message import Submission


class IovoxClient:
    """Sends messages, at most ``max_connections`` at once. Timeouts are in seconds.

    ``pool_timeout`` bounds the wait for a free connection. ``connect_timeout`` bounds TCP and TLS
    with one address; twice that bounds connecting as a whole, with name resolution, further
    addresses and a proxy's CONNECT. ``read_timeout`` bounds the exchange from the first byte of
    the request to the last byte of the response. ``retry_on_500``: whether iovox's documented
    500 ("Retry later") means that the message was not sent.

    ``tls`` is for https, by default with the system's roots; ``proxy`` is an HTTP proxy for every
    request; ``resolver`` replaces the system's.
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
        self._username = username
        self.use_key(secure_key)
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

    def use_key(self, secure_key: str) -> None:
        """Send with this key from now on. Raises ValueError for what no header can hold."""
        self._headers = _headers(self._username, secure_key)
        self._secure_key = secure_key

    def use_callback_headers(self, headers: CallbackHeaders) -> None:
        """Ask iovox for these with each message from now on."""
        self._callback_headers = headers

    def use_proxy(self, proxy: URL | None) -> None:
        """Go through this proxy from now on; what is under way ends as it began."""
        self._proxy = proxy

    @property
    def max_duration(self) -> float:
        """Seconds that ``send`` takes at most, without ``throttle``; leases have to be longer."""
        return self._pool_timeout + 2 * self._connect_timeout + self._read_timeout

    async def send(
        self, submission: Submission, *, throttle: Callable[[], Awaitable[None]] | None = None
    ) -> str:
        """Submit one message, once; returns its sms_activity_id.

        ``throttle`` is awaited with a free connection reserved, before anything is written.

        Raises Refused, NotSent or OutcomeUnknown. Cancellation after the request was written
        leaves the outcome unknown, too; the caller that cancels has to record it.
        """
        try:
            body = build_request(
                submission,
                callback_url=self._callback_url,
                callback_url_headers=self._callback_headers.for_message(submission.message_id),
            )
        except ValueError as exc:
            raise Refused(str(exc)) from exc
        await self._acquire()
        try:
            if throttle is not None:
                await throttle()
            response = await self._exchange(body)
        finally:
            self._pool.release()
        if isinstance(response, NotSent):
            raise response
        return read_outcome(response, retry_on_500=self._retry_on_500, redact=self._redact)

    async def send_empty_request(self) -> HttpResponse:
        """A check of the credentials: iovox answers an empty request with 400 if it knows them, and
        with 401 if not.

        Raises NotSent.
        """
        response = await self._exchange(b"")
        if isinstance(response, NotSent):
            raise response
        return response

    async def aclose(self) -> None:
        """Close every connection: running sends raise OutcomeUnknown, later ones NotSent."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()

    async def _acquire(self) -> None:
        if not self._pool.locked():  # there is no wait, so no timer is set for one
            await self._pool.acquire()
            return
        try:
            async with asyncio.timeout(self._pool_timeout):
                await self._pool.acquire()
        except TimeoutError as exc:
            why = "all connections to iovox are in use"
            raise NotSent(why, reached=False, busy=True) from exc

    async def _exchange(self, request: bytes) -> HttpResponse | NotSent:
        """One request and its response; NotSent if not one byte of the request was written."""
        loop = asyncio.get_running_loop()
        written = False
        status = retry_after = None

        def begin_writing() -> None:
            """The connect timeout ends, the read timeout begins."""
            nonlocal written
            deadline.reschedule(loop.time() + self._read_timeout)
            written = True

        before_writing.set(begin_writing)
        try:
            async with (
                asyncio.timeout(2 * self._connect_timeout) as deadline,
                self._get_session().post(
                    self._url,
                    headers=self._headers,
                    data=request,
                    proxy=self._proxy,
                    allow_redirects=False,
                ) as response,
            ):
                status = response.status
                retry_after = response.headers.get("Retry-After")
                body = await _read(response)
        except Exception as exc:  # noqa: BLE001  iovox may have the request, whatever the error
            if written:
                return HttpResponse(status, retry_after=retry_after, failure=_describe_failure(exc))
            why = self._redact(self._describe_connect_error(exc))
            return NotSent(f"iovox could not be reached: {why}", reached=False)
        return HttpResponse(status, body, retry_after)

    def _get_session(self) -> aiohttp.ClientSession:
        """The session; it is opened by the first send, since it belongs to that event loop."""
        if self._is_closed:
            raise _ClosedError
        if self._session is None:
            self._session = open_session(
                tls=self._tls,
                resolver=self._resolver,
                connect_timeout=self._connect_timeout,
            )
        return self._session

    def _describe_connect_error(self, exc: Exception) -> str:
        """The reason in words. aiohttp's own text may contain a proxy's URL or request headers."""
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
    """The response exceeds MAX_RESPONSE_SIZE."""


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body of a response. Raises _TooLargeError after the first chunk beyond the limit."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_RESPONSE_SIZE:
            raise _TooLargeError
    if response.headers.get("Content-Encoding", "identity").strip().lower() == "identity":
        return bytes(body)
    return _decode(body)


def _decode(body: bytearray) -> bytes:
    """Decompress gzip or deflate, which a proxy may add although we accept ``identity`` only.

    Bounded like ``_read``. aiohttp's own decompression fails on an unknown coding before it
    returns the status.
    """
    plain = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, MAX_RESPONSE_SIZE + 1)
    if len(plain) > MAX_RESPONSE_SIZE:
        raise _TooLargeError
    return plain


def _describe_failure(exc: Exception) -> str:
    """The failure of a response in words. The exception's own text may quote the request."""
    match exc:
        case TimeoutError():
            return "its answer did not come in time"
        case _TooLargeError():
            return f"its answer is larger than {MAX_RESPONSE_SIZE // 1024} KiB"
        case zlib.error():
            return "its answer could not be unpacked"
        case aiohttp.ServerDisconnectedError():
            return "the connection failed before its answer was complete (it was closed)"
        case aiohttp.ClientError():
            why = type(exc).__name__
            return f"the connection failed before its answer was complete ({why})"
    return f"its answer could not be read ({type(exc).__name__})"


def _send_url(base_url: str) -> URL:
    """The URL of sendSms. Raises ValueError for an invalid base URL."""
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
        "User-Agent": USER_AGENT,
    }
