"""The circuit breaker towards iovox."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

FAILURES_TO_OPEN = 20
"""Attempts in a row that were surely not sent."""
UNKNOWN_TO_OPEN = 5
"""Attempts in a row whose outcome is unknown. Fewer, because each costs a message its certainty,
while one that was surely not sent is only late."""
OPEN_FOR = 5.0
"""Seconds from opening, or from the end of the last probe, to the next probe."""
LONGEST_OPEN_FOR = 20.0
"""Seconds to the next probe at most, where probes end unknown: the wait is doubled each time, as
each of them leaves one more message UNCONFIRMED."""


class CircuitBreaker:
    """Opens after failures in a row, then lets one probe through at a time, OPEN_FOR apart.

    The failures must be of different messages: one message that always fails says nothing about
    the others.

    Each process has its own. What is on the wire when it opens is not called back: an iovox that
    hangs leaves at most UNKNOWN_TO_OPEN - 1 messages UNCONFIRMED beside one for each of the
    process's connections to it.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, probe_patience: float = OPEN_FOR
    ) -> None:
        """``probe_patience``: seconds after which a probe without a result blocks the next one no
        longer; not less than a probe may take, or several would be on the wire at once.
        """
        self._clock = clock
        self._probe_patience = max(OPEN_FOR, probe_patience)
        self._not_sent: set[UUID] = set()
        self._unknown: set[UUID] = set()
        self._next_probe_at: float | None = None
        self._open_for = OPEN_FOR
        self._is_probing = False
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
        self._is_probing = True
        self._next_probe_at = self._clock() + self._probe_patience
        return 1

    def release_probe(self) -> None:
        """The probe was not begun: the next one is due at once. No effect while it is closed."""
        if self._next_probe_at is not None:
            self._is_probing = False
            self._next_probe_at = self._clock()

    def record_success(self) -> None:
        """iovox processed a request, even if it refused the message: close."""
        self._next_probe_at = None
        self._open_for = OPEN_FOR
        self._is_probing = False
        self._not_sent.clear()
        self._unknown.clear()

    def record_failure(self, message_id: UUID) -> None:
        """An attempt was surely not sent."""
        _add(self._not_sent, message_id, FAILURES_TO_OPEN)
        self._is_probing = False
        self._open_if_due()

    def record_unknown(self, message_id: UUID) -> None:
        """iovox may have accepted a message: there was no answer, or an inconclusive one."""
        _add(self._unknown, message_id, UNKNOWN_TO_OPEN)
        if self._is_probing:
            self._open_for = min(2 * self._open_for, LONGEST_OPEN_FOR)
        self._is_probing = False
        self._open_if_due()

    def record_nothing(self) -> None:
        """An attempt ended before it reached iovox. If it was the probe, the next is due soon."""
        if self._next_probe_at is not None:
            self._is_probing = False
            self._next_probe_at = min(self._next_probe_at, self._clock() + OPEN_FOR)

    def record_drained(self) -> None:
        """No queued message is due any more: the backlog of the outage has been sent."""
        self.has_backlog = False

    def _open_if_due(self) -> None:
        if len(self._not_sent) >= FAILURES_TO_OPEN or len(self._unknown) >= UNKNOWN_TO_OPEN:
            self._next_probe_at = self._clock() + self._open_for
            self.has_backlog = True


def _add(failed: set[UUID], message_id: UUID, enough: int) -> None:
    if len(failed) < enough:  # more need not be remembered
        failed.add(message_id)
