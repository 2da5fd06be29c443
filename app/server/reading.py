"""How much of a connection is read and parsed at a time. The bytes are untrusted.

A client may pipeline thousands of requests without reading one response. Parsed as they arrive,
they would all be built at once, which delays all other connections. So the parser is given one
request at a time, and nothing more is read while some bytes are left (backpressure).
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl

from app.server.turns import Turns

HEAD_END = b"\r\n\r\n"
SMALLEST_HEAD = 14
"""Bytes before the end of any head: ``GET / HTTP/1.1``. Keeps pieces from being too small."""
CHUNKED_STEP = 1024
"""Bytes of a body of unknown length that are parsed at once: other requests may follow in them."""
LARGEST_PIECE = 64 * 1024


class Backlog:
    """Bytes that have arrived and are not parsed yet."""

    def __init__(self) -> None:
        self._bytes = b""
        self._start = 0

    def __bool__(self) -> bool:
        return self._start < len(self._bytes)

    def __len__(self) -> int:
        return len(self._bytes) - self._start

    def add(self, data: bytes) -> None:
        """Append bytes."""
        self._bytes = self._bytes[self._start :] + data
        self._start = 0

    def take_to_head_end(self) -> bytes:
        """Take up to the end of the next head: at most one complete request without a body."""
        found = self._bytes.find(HEAD_END, self._start + SMALLEST_HEAD)
        return self.take(found + len(HEAD_END) - self._start if found >= 0 else LARGEST_PIECE)

    def take(self, size: int) -> bytes:
        """Take up to this many bytes, at most LARGEST_PIECE."""
        start, self._start = self._start, self._start + min(size, LARGEST_PIECE)
        piece = self._bytes[start : self._start]
        if not self:
            self.clear()
        return piece

    def clear(self) -> None:
        """Forget them."""
        self._bytes, self._start = b"", 0


class HeldFlow(FlowControl):
    """uvicorn's flow control, which resumes reading for each request, unless it is held.

    Reading is resumed in turn (see `app.server.turns`): a large body is read in pieces, and those
    of hundreds of clients would delay all other connections, as their requests would.
    """

    is_held = False
    _is_resuming = False

    def __init__(self, transport: asyncio.Transport, turns: Turns) -> None:
        super().__init__(transport)
        self._turns = turns

    def hold(self, *, held: bool) -> None:
        """Pause reading until further notice, or resume it."""
        if held != self.is_held:
            self.is_held = held
            if held:
                self.pause_reading()
            else:
                self.resume_reading()

    def resume_reading(self) -> None:
        """Resume reading, unless held, when it is this connection's turn."""
        if self.read_paused and not self.is_held and not self._is_resuming:
            self._is_resuming = True
            self._turns.begin(self._resume)

    def yield_turn(self) -> None:
        """Read no more before it is this connection's turn again."""
        if not self._transport.is_closing():
            self.pause_reading()
            self.resume_reading()

    def _resume(self) -> None:
        self._is_resuming = False
        if not self.is_held and not self._transport.is_closing():
            super().resume_reading()
