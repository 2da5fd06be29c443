"""Closing a connection whose client is still writing. The client is untrusted.

Closing a socket with unread bytes resets the connection, and a reset can destroy a response that
the client has not read yet: one that writes its whole body first would see the reset only, and not
the 413. So the end of the response is told (FIN), and what still arrives is read and dropped, to
the end of the body, and for a bounded time and amount.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class LingeringTransport:
    """What a response is written to; closing it leaves the decision to the connection."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close
