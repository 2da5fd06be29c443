"""Rival (c): the least that a Python HTTP server can do with a receipt: read it and say 200."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

STORED = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
EMPTY = {"type": "http.response.body", "body": b""}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """A bare ASGI callable."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send(STORED)
    await send(EMPTY)
