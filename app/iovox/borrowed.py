"""Any httpx transport in the place of our own wire: for a test's double, or one with a proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import httpx

from app.iovox.wire import Headers, NotConnectedError

# Raised before the first byte of a request is written, and never after.
_NOT_CONNECTED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


class BorrowedWire:
    """A wire that makes its requests by a transport, which is told of no retries."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        *,
        url: httpx.URL,
        headers: Headers,
        connect_timeout: float,
        read_timeout: float,
        largest_body: int,
    ) -> None:
        self._transport = transport
        self._url = url
        self._headers = headers
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._largest_body = largest_body
        self._response: httpx.Response | None = None
        self._ends_at: float | None = None

    async def ask(self, body: bytes) -> tuple[int, Headers]:
        """Raises NotConnectedError, TimeoutError, or what the transport raises."""
        loop = asyncio.get_running_loop()
        self._ends_at = loop.time() + 2 * self._connect_timeout + self._read_timeout

        def going_out() -> None:
            """The time for connecting is over, the time for the exchange begins."""
            self._ends_at = loop.time() + self._read_timeout
            deadline.reschedule(self._ends_at)

        request = httpx.Request(
            "POST",
            self._url,
            headers=[*self._headers, (b"Content-Length", b"%d" % len(body))],
            stream=_Body(body, going_out),
            extensions={"timeout": {"connect": self._connect_timeout}},
        )
        try:
            async with asyncio.timeout_at(self._ends_at) as deadline:
                self._response = await self._transport.handle_async_request(request)
        except _NOT_CONNECTED as error:
            raise NotConnectedError(f"{type(error).__name__}: {error}") from error
        found = [(name.lower(), value) for name, value in self._response.headers.raw]
        return self._response.status_code, found

    async def answer(self) -> bytes:
        """No more than a byte beyond the limit is taken in."""
        body = bytearray()
        stream = cast("httpx.Response", self._response).stream
        async with asyncio.timeout_at(self._ends_at):
            async for chunk in cast("httpx.AsyncByteStream", stream):
                body += chunk
                if len(body) > self._largest_body:
                    break
        return bytes(body[: self._largest_body + 1])

    async def release(self) -> None:
        """The transport decides whether it keeps the connection."""
        response, self._response = self._response, None
        if response is not None:
            await response.aclose()

    async def aclose(self) -> None:
        """Close the transport, which other wires may share."""
        await self._transport.aclose()


class _Body(httpx.AsyncByteStream):
    """A request's body. Its being asked for is the moment the request goes out."""

    def __init__(self, body: bytes, going_out: Callable[[], None]) -> None:
        self._body = body
        self._going_out = going_out

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._going_out()
        yield self._body
