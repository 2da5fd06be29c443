"""When a message may go to iovox: not while iovox is refusing everything, and not too fast."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from app.store.pace import PaceStore

REFUSALS_TO_OPEN = 20
OPEN_FOR = 5.0
"""Seconds before one message is let through to see how iovox is."""
LOOKAHEAD = timedelta(seconds=0.25)
"""How far ahead moments are taken: enough to keep busy, little to lose in a crash."""


class Breaker:
    """Opens after so many refusals in a row; lets one through after a while, to find out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refusals = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether sends are held back."""
        return self._opened_at is not None

    def admits(self) -> int | None:
        """How many may go now: None for any number, 1 to find out, 0 while it is open."""
        if self._opened_at is None:
            return None
        if self._probing or self._clock() - self._opened_at < OPEN_FOR:
            return 0
        return 1

    def started(self) -> None:
        """A send goes out. While open, that is the one that finds out."""
        if self._opened_at is not None:
            self._probing = True

    def answered(self) -> None:
        """iovox answered something else than 'later': it is there."""
        self._refusals, self._opened_at, self._probing = 0, None, False

    def refused(self) -> None:
        """It was surely not sent."""
        self._refusals += 1
        if self._probing or (self._opened_at is None and self._refusals >= REFUSALS_TO_OPEN):
            self._opened_at = self._clock()
        self._probing = False

    def unknown(self) -> None:
        """Neither: it may be there."""
        if self._probing:
            self._opened_at, self._probing = self._clock(), False


class Gate:
    """The breaker and the pace together."""

    def __init__(self, *, breaker: Breaker, pace: PaceStore | None) -> None:
        self.breaker = breaker
        self._pace = pace

    async def admit(self, wanted: int, *, within: timedelta = LOOKAHEAD) -> list[datetime]:
        """Moments at which up to ``wanted`` messages may be sent; perhaps none."""
        allowed = self.breaker.admits()
        wanted = wanted if allowed is None else min(wanted, allowed)
        now = datetime.now(UTC)
        if wanted <= 0:
            return []
        if self._pace is None:
            return [now] * wanted
        return await self._pace.take(wanted, now=now, within=within)
