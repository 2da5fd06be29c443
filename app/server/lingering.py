"""Lingering close: of a connection whose client is still writing. The client is untrusted.

Closing a socket with unread bytes resets the connection, and a reset can destroy a response that
the client has not read yet: one that writes its whole body first would see the reset only, and not
the 413. So the response is followed by a FIN, and what still arrives is read and discarded, to the
end of the body, and for a bounded time and amount.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

DISCARD_TIMEOUT = 30.0
"""Seconds for the rest of a body after its request was answered, mostly refused: as many as for a
body that is read."""
MAX_DISCARDED = 64 * 1024 * 1024
"""Bytes of such a rest that are read at most."""


class LingeringTransport:
    """uvicorn's transport for one response; ``close`` is the connection's, which may linger."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close
