"""The circuit breaker towards iovox."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

FAILURES_TO_OPEN = 20
OPEN_FOR = 5.0
"""Seconds from opening, or from the last probe, to the next probe."""


class CircuitBreaker:
    """Opens after FAILURES_TO_OPEN failures in a row, then lets one probe through each OPEN_FOR.

    The failures must be of different messages: one message that always fails says nothing about
    the others.

    Each process has its own. A probe whose result is never recorded blocks nothing: the next one is
    due after the same interval.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: set[UUID] = set()
        self._next_probe_at: float | None = None
        self.has_backlog = False
        """Whether messages queued while it was open may still wait; see ``record_drained``."""

    @property
    def is_open(self) -> bool:
        """Whether sends are held back, but for probes."""
        return self._next_probe_at is not None

    @property
    def next_probe_in(self) -> float:
        """Seconds until the next probe is due; 0 also while it is closed."""
        if self._next_probe_at is None:
            return 0.0
        return max(0.0, self._next_probe_at - self._clock())

    def allow(self, wanted: int) -> int:
        """How many of ``wanted`` may be sent now: all while closed; while open one, if a probe is
        due (which this counts as begun), otherwise none.
        """
        if self._next_probe_at is None:
            return wanted
        if wanted < 1 or self.next_probe_in > 0:
            return 0
        self._next_probe_at = self._clock() + OPEN_FOR
        return 1

    def release_probe(self) -> None:
        """The probe was not sent: the next one is due at once. No effect while it is closed."""
        if self._next_probe_at is not None:
            self._next_probe_at = self._clock()

    def record_success(self) -> None:
        """iovox processed a request, even if it refused the message: close."""
        self._next_probe_at = None
        self._failed.clear()

    def record_failure(self, message_id: UUID) -> None:
        """An attempt was surely not sent."""
        if len(self._failed) < FAILURES_TO_OPEN:
            self._failed.add(message_id)
        if len(self._failed) >= FAILURES_TO_OPEN:
            self._next_probe_at = self._clock() + OPEN_FOR
            self.has_backlog = True

    def record_drained(self) -> None:
        """No queued message is due any more: the backlog of the outage has been sent."""
        self.has_backlog = False
