"""Types of ASGI, and the request of the fast path beside it (see `app.server.complete_posts`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.server.complete_posts import CompletePostHttp

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

ABORT_EXTENSION = "iovox-receipts.abort"
"""Name of an ASGI extension of ours. ASGI has no way to abort a connection whose client does not
read: uvicorn would wait for it, on shutdown as well. The scope's ``extensions`` carry a function,
``abort``, and another by which a response says that it has no end of its own, ``endless``.
"""


class _NoEvent:
    """Stands for the event by which uvicorn wakes a request's task: a CompleteRequest has none."""

    def set(self) -> None:
        """Do nothing."""


_NO_EVENT = _NoEvent()


class CompleteRequest:
    """A POST of which every byte has arrived. Header names are in lower case.

    For uvicorn it takes the place of the request/response cycle that is active on the connection.
    """

    __slots__ = (
        "_connection", "body", "client", "disconnected", "headers", "keep_alive", "message_event",
        "response_complete",
    )  # fmt: skip

    def __init__(self, connection: CompletePostHttp, body: bytes, *, keep_alive: bool) -> None:
        self._connection = connection
        self.headers = connection.headers
        self.body = body
        self.client = connection.client
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.message_event = _NO_EVENT

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Write the response, unless the client has disconnected. Call it once, at any time."""
        self._connection.write_response(self, status, headers, body)

    def refuse(self, status: int, headers: Headers, body: bytes) -> None:
        """The same for a call without the secret: it has no precedence, and waits for its turn."""
        self._connection.write_refusal(self, status, headers, body)
