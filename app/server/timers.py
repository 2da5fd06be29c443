"""A timer that is set anew or cancelled for each step of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Timer:
    """At most one pending call of the event loop."""

    __slots__ = ("_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    def set(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call ``callback`` in ``seconds``, instead of what was set before."""
        self.cancel()
        self._handle = self._loop.call_later(seconds, callback)

    def cancel(self) -> None:
        """Call nothing. No effect if nothing is set, or it was called already."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
