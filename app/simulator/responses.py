"""Responses: iovox's 201 with an id, its XML errors, and those of outages.

The XML's Content-Type has no charset, as iovox's may have none: a client has to assume UTF-8.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from fastapi.responses import Response

_XML = {"content-type": "text/xml"}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIResponse = Callable[[Scope, Receive, Send], Awaitable[None]]

CUT = "simulator.cut"
"""The ASGI extension of our own server that closes a connection without a response."""

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


@dataclass(frozen=True, slots=True)
class Fault:
    """One ``<error>`` element of a response."""

    status: int
    text: str


UNAUTHORIZED = Fault(401, "HTTP 401: Unauthorized")
SERVER_ERROR = Fault(500, "Internal Server Error")


class RefusalError(Exception):
    """The request is refused with all of these errors."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.text for fault in faults))
        self.faults = faults


def accepted(sms_activity_id: str) -> Response:
    """201 with the id of the accepted text."""
    body = (
        f"{_DECLARATION}<response>\n"
        f"        <sms_activity_id>{escape(sms_activity_id)}</sms_activity_id>\n"
        "</response>\n"
    )
    return Response(body, 201, headers=_XML)


def refused(faults: Sequence[Fault]) -> Response:
    """The XML errors, each with its status; the HTTP status is that of the first."""
    lines = "".join(
        f'    <error status="{fault.status}">{escape(fault.text, quote=False)}</error>\n'
        for fault in faults
    )
    body = f"{_DECLARATION}<errors>\n{lines}</errors>\n"
    return Response(body, faults[0].status, headers=_XML)


def withheld(seconds: float, closing: asyncio.Event) -> ASGIResponse:
    """No response: the connection is held for ``seconds`` or until shutdown, then closed.

    On a server without the extension CUT it is held until the client disconnects.
    """

    async def hold(scope: Scope, receive: Receive, _send: Send) -> None:
        gone = asyncio.ensure_future(_disconnected(receive))
        stopped = asyncio.ensure_future(closing.wait())
        try:
            await asyncio.wait(
                (gone, stopped), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            offered = scope.get("extensions", {}).get(CUT)
            if offered is not None:
                offered["close"]()
            await gone
        finally:
            gone.cancel()
            stopped.cancel()

    return hold


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _proxy_page(status: int, phrase: str) -> Callable[[], Response]:
    """A proxy's HTML page."""
    page = f"<html><head><title>{status} {phrase}</title></head><body>{phrase}</body></html>"
    return lambda: Response(page, status, media_type="text/html")


OUTAGES: dict[str, Callable[[], Response]] = {
    "429": _proxy_page(429, "Too Many Requests"),
    "500": lambda: refused((SERVER_ERROR,)),
    "bare-500": lambda: Response(status_code=500),
    "502": _proxy_page(502, "Bad Gateway"),
    "503": _proxy_page(503, "Service Unavailable"),
    "504": _proxy_page(504, "Gateway Time-out"),
}
HANG = "hang"
