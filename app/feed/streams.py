"""One open stream: a bounded queue of what its client is still to be sent, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.feed.view import View
from app.model.event import Event, event_json

QUEUE = 2_000
"""Events queued for one client. A slower one is disconnected: it reconnects with Last-Event-ID and
reads what it missed from the database, at its own pace."""

RECONNECT_AFTER = 1_000
"""Milliseconds that a browser is asked to wait before it reconnects (SSE's ``retry``)."""
HEARTBEAT = b": heartbeat\n\n"


class Stream:
    """A queue of bytes with one consumer, which calls ``take`` until that returns nothing.

    ``floor``: events up to this number were sent already. ``abort`` drops the connection, for a
    client that reads nothing.
    """

    __slots__ = ("_abort", "_has_ended", "_pending", "_waiter", "floor", "is_quiet", "key_id",
                 "view")  # fmt: skip

    def __init__(self, view: View, *, key_id: str, abort: Callable[[], None]) -> None:
        self.view = view
        self.key_id = key_id
        self.floor = 0
        self.is_quiet = False
        self._abort = abort
        self._has_ended = False
        self._pending: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the queue takes nothing more; what is in it is still sent."""
        return self._has_ended

    def wants(self, event: Event) -> bool:
        """Whether an event of an app that the key may see is to be sent."""
        return event.number > self.floor and self.view.wants(event)

    def offer(self, chunk: bytes) -> bool:
        """Queue bytes; False where the queue is full."""
        if len(self._pending) >= QUEUE:
            return False
        if not self._has_ended:
            self._pending.append(chunk)
            self._wake()
        return True

    async def take(self) -> bytes:
        """Wait for bytes and return all that are queued; empty once the stream has ended."""
        if not self._pending and not self._has_ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        chunk = b"".join(self._pending)
        self._pending.clear()
        self.is_quiet = False
        return chunk

    def end(self) -> None:
        """Queue nothing more. What is queued is still sent."""
        self._has_ended = True
        self._wake()

    def cut(self) -> None:
        """Drop what is queued and abort the connection."""
        self._pending.clear()
        self.end()
        self._abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def opening(position: str) -> bytes:
    """How a stream begins: an id without data, which sets the client's Last-Event-ID. So a client
    that is disconnected before the first event misses nothing either.
    """
    return f": connected\nretry: {RECONNECT_AFTER}\nid: {position}\n\n".encode()


def encode(event: Event) -> bytes:
    """An event in SSE's format. Our JSON is one line, as SSE's ``data`` has to be."""
    return f"id: {event.id}\ndata: {event_json(event)}\n\n".encode()
