"""A rate limit on failures, for each of many callers: token buckets. Generic."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable

CAPACITY = 10_000
"""Callers that are remembered; one more evicts the one that failed longest ago. A limit for each
address does not stop a caller who has that many of them."""


class Throttle:
    """A token bucket for each caller: ``per_minute`` failures a minute, and as many at once."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = per_minute
        self._rate = per_minute / 60
        self._clock = clock
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def wait(self, caller: Hashable) -> int:
        """Whole seconds until the caller may fail again; 0 for one that may now."""
        tokens = self._tokens(caller)
        return 0 if tokens >= 1 else math.ceil((1 - tokens) / self._rate)

    def failed(self, caller: Hashable) -> None:
        """The caller has failed once more."""
        tokens = self._tokens(caller)
        self._buckets.pop(caller, None)
        if len(self._buckets) >= CAPACITY:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[caller] = (max(0.0, tokens - 1), self._clock())

    def _tokens(self, caller: Hashable) -> float:
        known = self._buckets.get(caller)
        if known is None:
            return self._size
        tokens, at = known
        return min(self._size, tokens + (self._clock() - at) * self._rate)
