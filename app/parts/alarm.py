"""Time-outs by the thousand, with hardly a timer. Generic: knows no domain.

A timer of the event loop for each costs more than most of what they watch over. Nearly all of them
are stopped long before they are due, so one that looks now and then does for many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any


class Alarm:
    """Calls ``ring`` when the time it was set to last has come, unless it was stopped.

    Setting it is an assignment as a rule: the timer goes on, and looks what it is set to by then.
    """

    __slots__ = ("_due", "_ring", "_timer", "_when")

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._when = 0.0

    def set(self, seconds: float) -> None:
        """Ring so many seconds from now, and not when it was to before."""
        loop = asyncio.get_running_loop()
        self._due = due = loop.time() + seconds
        if self._timer is None or self._when > due:
            self._start(loop, due)

    def stop(self) -> None:
        """Do not ring."""
        self._due = None

    def close(self) -> None:
        """Do not ring, and leave nothing behind in the event loop."""
        self._due = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._when = when
        self._timer = loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due is None:
            return
        loop = asyncio.get_running_loop()
        if self._due > loop.time():
            self._start(loop, self._due)
        else:
            self._due = None
            self._ring()


class Deadlines:
    """Fails every future that it watches with TimeoutError, should it not be done in time.

    In time is the same number of seconds for all of them: so they come due in order.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._watched: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._is_timed = False

    def watch(self, future: asyncio.Future[Any]) -> None:
        """From now on."""
        watched = self._watched
        while watched and watched[0][1].done():
            watched.popleft()
        loop = asyncio.get_running_loop()
        due = loop.time() + self._seconds
        watched.append((due, future))
        if not self._is_timed:
            self._is_timed = True
            loop.call_at(due, self._look)

    def _look(self) -> None:
        loop, watched = asyncio.get_running_loop(), self._watched
        while watched and (watched[0][1].done() or watched[0][0] <= loop.time()):
            _, future = watched.popleft()
            if not future.done():
                future.set_exception(TimeoutError())
        self._is_timed = bool(watched)
        if watched:
            loop.call_at(watched[0][0], self._look)
