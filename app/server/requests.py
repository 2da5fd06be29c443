"""Types of ASGI, and the request of the fast path beside it (see `app.server.protocol`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class CompleteRequest(Protocol):
    """A POST of which every byte has arrived. Header names are in lower case."""

    headers: Headers
    body: bytes
    client: tuple[str, int] | None

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Write the response. To be called once, at any time, even if the client disconnected."""
