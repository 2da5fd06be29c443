"""How much one API key may ask of us. Each process counts by itself: with several workers or
replicas a key may ask each of them for its rate.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from app.errors import TooManyRequests


class KeyRates:
    """A token bucket for each key: ``rate`` messages a second, and a second's worth at once.

    A batch passes where anything is left, and is paid for by waiting afterwards; otherwise one
    larger than the bucket could never pass. There are as many buckets as keys that are known.
    """

    def __init__(self, rate: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """``rate`` None is no limit."""
        self._rate = rate
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key_id: str, messages: int = 1) -> None:
        """Count messages. Raises TooManyRequests, which says when there is room again."""
        if self._rate is None:
            return
        size = max(1.0, self._rate)
        now = self._clock()
        left, at = self._buckets.get(key_id, (size, now))
        left = min(size, left + (now - at) * self._rate)
        if left < 1:
            raise TooManyRequests(
                f"This key may send {self._rate:g} messages a second",
                retry_after=math.ceil((1 - left) / self._rate),
            )
        self._buckets[key_id] = (left - messages, now)
