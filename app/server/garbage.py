"""Runs the garbage collector while the event loop is idle, so that receipts need not wait for it.

Python runs it by itself once so many objects were made and not freed (see `app.server.process`).
Closed connections leave 40 each, so many of them reach that number, and then every caller waits
for the tenth of a second that it takes to free them all, or several times that on a busy machine.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

WORTH_IT = 2_000
"""Young objects from which on a collection is run: two milliseconds of work."""
QUIET = 0.5
"""CPU utilisation of the event loop's thread since the last call, below which a collection delays
nobody. At full load none is run: nearly all objects are in use then.
"""
OLDER_EVERY = 10
"""Every tenth collection includes the middle generation: objects that survived one collection."""
OLDEST_SHARE = 0.0005
"""Share of all time for full collections, which include the oldest generation, such as the objects
of a connection that was open for minutes. Python runs one only after many collections that it has
started itself, and here it starts none. 40,000 such objects, as after hours of use, take 25 ms once
a minute; a process with ten times as many, for its open connections, runs it that much less often.
"""


class QuietCollector:
    """``look`` is called every tenth of a second by the event loop's own thread."""

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.monotonic,
        busy: Callable[[], float] = time.thread_time,
    ) -> None:
        """``wall`` and ``busy``: elapsed time, and this thread's CPU time, in seconds."""
        self._wall = wall
        self._busy = busy
        self._last = wall(), busy()
        self._collections = 0
        self._oldest_at = 0.0

    def look(self) -> None:
        """Run a collection if the loop is idle and there are enough young objects; now and then
        older generations are included.
        """
        (wall_before, busy_before), self._last = self._last, (self._wall(), self._busy())
        wall, busy = self._last
        if gc.get_count()[0] < WORTH_IT or busy - busy_before > QUIET * (wall - wall_before):
            return
        self._collections += 1
        is_for_oldest = wall >= self._oldest_at
        gc.collect(2 if is_for_oldest else 0 if self._collections % OLDER_EVERY else 1)
        self._last = self._wall(), self._busy()
        if is_for_oldest:
            self._oldest_at = wall + (self._last[1] - busy) / OLDEST_SHARE
