"""Collects garbage when there is little to do, so that it does not have to be done beside receipts.

Python collects once so many objects have been made that were not freed (see `app.server.process`).
Closed connections alone leave that many, 40 each, and then everybody waits for the tenth of a
second that it takes to free them all, or several times that on a busy machine.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

WORTH_IT = 2_000
"""Objects, two milliseconds' work at most."""
QUIET = 0.5
"""Share of the time since the last look that the event loop has computed: below it a collection
holds up nobody. At full load there is none, as it would find little more than what is in use.
"""
OLDER_EVERY = 10
"""Collections until one that also looks at what the last ones found in use."""
OLDEST_SHARE = 0.0005
"""Share of all time for what was in use at the second look as well, such as a connection that was
open for minutes. Python itself would never look at it: it does so after many collections that it
started, and here it starts none. 40,000 such objects, as after hours of use, are 25 ms once a
minute; a process with ten times as many, for its open connections, looks that much more seldom.
"""


class QuietCollector:
    """``look`` is called every tenth of a second by the event loop's own thread."""

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.monotonic,
        busy: Callable[[], float] = time.thread_time,
    ) -> None:
        """``wall`` and ``busy``: seconds that have passed, and that this thread has computed."""
        self._wall = wall
        self._busy = busy
        self._last = wall(), busy()
        self._collections = 0
        self._oldest_at = 0.0

    def look(self) -> None:
        """Collect the young objects if it is quiet and there are enough of them; now and then older
        ones too."""
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
