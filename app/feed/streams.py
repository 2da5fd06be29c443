"""One open stream: what its reader still has to be sent, bounded, and how it comes to an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.feed.view import View
from app.model.event import Event, event_json

QUEUE = 2_000
"""Events that may wait for one reader. Whoever is further behind is cut: it reconnects, and then
reads what it missed from the database, at its own pace."""

RECONNECT_AFTER = 1_000
"""Milliseconds: what a browser is asked to wait before it comes back."""
HEARTBEAT = b": heartbeat\n\n"


class Stream:
    """A queue of bytes with one reader, which calls ``take`` until that brings nothing.

    ``floor``: events up to this number are not for it any more. ``abort`` cuts the connection of a
    reader that takes nothing.
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
        """Whether nothing more will be put in."""
        return self._has_ended

    def wants(self, event: Event) -> bool:
        """Whether an event of an app that may be seen has to be sent."""
        return event.number > self.floor and self.view.wants(event)

    def offer(self, chunk: bytes) -> bool:
        """Put bytes in; False where the queue is full."""
        if len(self._pending) >= QUEUE:
            return False
        if not self._has_ended:
            self._pending.append(chunk)
            self._wake()
        return True

    async def take(self) -> bytes:
        """All that waits, as soon as there is something; nothing once it has ended."""
        if not self._pending and not self._has_ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        chunk = b"".join(self._pending)
        self._pending.clear()
        self.is_quiet = False
        return chunk

    def end(self) -> None:
        """Put nothing more in. What waits is still sent."""
        self._has_ended = True
        self._wake()

    def cut(self) -> None:
        """End now, whatever waits, and whether or not the reader takes it."""
        self._pending.clear()
        self.end()
        self._abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def opening(position: str) -> bytes:
    """What a stream starts with: an id and no data, which moves the reader's Last-Event-ID.

    So whoever loses its connection before the first event misses nothing either.
    """
    return f": connected\nretry: {RECONNECT_AFTER}\nid: {position}\n\n".encode()


def encode(event: Event) -> bytes:
    """An event as it goes over the wire; JSON has no line breaks of its own."""
    return f"id: {event.id}\ndata: {event_json(event)}\n\n".encode()
