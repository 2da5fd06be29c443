"""What this process has seen lately, which alarms are raised from. Times are seconds since 1970."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from statistics import median

LAGS_KEPT = 200
REFUSALS_KEPT = 1_000
WINDOW = 300.0
"""Seconds for which a refusal or a receipt's lag counts."""


class Recent:
    """One for each process; cheap enough to be updated for every receipt."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.last_receipt_at = 0.0
        self.last_submission_at = 0.0
        self.credentials_refused_at = 0.0
        self._lags: deque[tuple[float, float]] = deque(maxlen=LAGS_KEPT)
        self._refusals: deque[tuple[float, str]] = deque(maxlen=REFUSALS_KEPT)

    def took(self, lags: Iterable[float]) -> None:
        """Receipts were taken; ``lags``: seconds by which they came after their own time."""
        now = self.last_receipt_at = self._clock()
        self._lags.extend((now, lag) for lag in lags)

    def refused(self, reason: str) -> None:
        """A call to /dlr was refused."""
        self._refusals.append((self._clock(), reason))

    def submitted(self) -> None:
        """iovox accepted a message."""
        self.last_submission_at = self._clock()

    def credentials_were_refused(self) -> None:
        """iovox answered 401 or 403."""
        self.credentials_refused_at = self._clock()

    def refusals(self) -> dict[str, int]:
        """How many calls were refused within WINDOW, by reason; it counts up to REFUSALS_KEPT."""
        since = self._clock() - WINDOW
        return dict(Counter(reason for at, reason in self._refusals if at >= since))

    def lag(self) -> tuple[int, float]:
        """How many receipts with a time came within WINDOW, and the median of their lags."""
        since = self._clock() - WINDOW
        found = [lag for at, lag in self._lags if at >= since]
        return len(found), median(found) if found else 0.0
