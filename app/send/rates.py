"""The rate limit of each API key. Each process counts by itself: with several workers or replicas
a key has its full rate at each of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from app.errors import TooManyRequests


class KeyRates:
    """A token bucket for each key, of ``rate`` messages a second and a burst of one second's worth.

    A batch passes if one token is left, and may overdraw the bucket; otherwise a batch larger than
    the bucket could never pass. There are as many buckets as keys that authenticated.
    """

    def __init__(self, rate: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """``rate`` None is no limit."""
        self._rate = rate
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key_id: str, messages: int = 1) -> None:
        """Take a token for each message. Raises TooManyRequests with the time of the next token."""
        if self._rate is None:
            return
        size = max(1.0, self._rate)
        now = self._clock()
        tokens, at = self._buckets.get(key_id, (size, now))
        tokens = min(size, tokens + (now - at) * self._rate)
        if tokens < 1:
            raise TooManyRequests(
                f"This key may send {self._rate:g} messages a second",
                retry_after=math.ceil((1 - tokens) / self._rate),
            )
        self._buckets[key_id] = (tokens - messages, now)
