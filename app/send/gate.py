"""Admission control towards iovox: the circuit breaker and the rate limit together."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.errors import Unavailable
from app.parts.batcher import Batcher, BatcherClosed, BatcherFull
from app.send.breaker import CircuitBreaker
from app.store.clock import Now, utc_now
from app.store.pace import PaceStore

INLINE_WAIT = timedelta(seconds=0.05)
"""The furthest ahead that a slot under DLR_IOVOX_RATE may lie for a caller to wait for it; without
one it is answered QUEUED."""
POOL_TIMEOUT, POOL_TIMEOUT_UNDER_A_RATE = 1.0, 0.1
"""Seconds that a message waits for a free connection to iovox before it goes (back) to the queue.
Under a rate its slot has passed by then: late messages of many replicas must not add up."""
BACKLOG_CHECK_INTERVAL = 0.25
"""Seconds between queries whether the backlog of an outage has been sent."""
LONGEST_WAIT = timedelta(seconds=1)
"""The furthest ahead that any slot is given out. What seems further is there because the clock was
set back since: it is due now."""
RESERVE_TIMEOUT = 5.0
"""Seconds for a reservation; beyond it the database counts as unavailable."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The time slot to send in; None: queue the message.

    A ``probe`` of the open breaker may take long, so its caller is answered QUEUED at once.
    """

    slot: datetime | None
    probe: bool = False


class Gate:
    """Decides whether and when a message may be sent.

    The rate, in messages a second, is shared by all replicas through ``pace``, which gives out time
    slots. Messages that missed their slots could still go all at once, so each process also keeps
    to the rate by itself (``throttle``).

    After an outage new messages are queued until its backlog has been sent, so that they do not
    overtake it. The queue's worker records that on the breaker; where the worker runs in another
    process, ``is_any_due`` is queried, at most every BACKLOG_CHECK_INTERVAL.
    """

    def __init__(
        self,
        *,
        breaker: CircuitBreaker,
        pace: PaceStore | None,
        rate: float | None,
        is_any_due: Callable[[], Awaitable[bool]] | None = None,
        is_held: Callable[[], bool] = lambda: False,
        now: Now = utc_now,
    ) -> None:
        """``is_held``: whether an operator holds the queue; then new messages join it. ``now``: the
        clock by which ``pace`` gives out slots.
        """
        self._is_held = is_held
        self.breaker = breaker
        self._now = now
        self._is_any_due = is_any_due
        self._next_check_at = 0.0
        self.pace = pace
        self._window = SlidingWindow(rate) if rate else None
        self._reservations: Batcher[None, datetime | None] = Batcher(
            self._reserve, largest=1_000, capacity=10_000
        )

    async def admit(self) -> Admission:
        """Whether one message may be sent while its caller waits.

        Raises StoreUnavailable, and Unavailable where too many wait for a slot.
        """
        if self._is_held():
            return Admission(None)
        if self.breaker.has_backlog and await self._still_has_backlog():
            return Admission(None)
        probing = self.breaker.is_open
        if not self.breaker.allow(1):
            return Admission(None)
        slot = self._now() if self.pace is None else await self._reserve_one()
        return Admission(slot, probe=probing and slot is not None)

    async def _reserve_one(self) -> datetime | None:
        slot = None
        try:
            slot = await self._reservations.submit(None)
        except (BatcherFull, BatcherClosed):
            raise Unavailable("Nothing was sent: too many wait, or we shut down") from None
        finally:
            if slot is None:
                self.breaker.release_probe()
        return slot

    async def _still_has_backlog(self) -> bool:
        if self._is_any_due is None:
            return True  # until the queue's worker records otherwise
        if self.breaker.is_open:
            return False  # no worker here to send a probe: an inline send has to be the probe
        now = time.monotonic()
        if now < self._next_check_at:
            return True
        self._next_check_at = now + BACKLOG_CHECK_INTERVAL
        if not await self._is_any_due():
            self.breaker.record_drained()
        return self.breaker.has_backlog

    async def wait_until(self, slot: datetime) -> None:
        """Return when the slot begins."""
        wait = slot - self._now()
        if timedelta(0) < wait <= LONGEST_WAIT:
            await asyncio.sleep(wait.total_seconds())

    async def throttle(self) -> None:
        """Return when this process may write one more request.

        Called right before the write: messages that waited for a connection would otherwise all go
        at once.
        """
        if self._window is not None:
            wait = self._window.reserve(time.monotonic()) - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)

    async def close(self) -> None:
        """Finish the reservations under way; refuse new ones."""
        await self._reservations.close()

    async def _reserve(self, wanted: Sequence[None]) -> list[datetime | None]:
        if self.pace is None:
            return [None] * len(wanted)
        slots = await self.pace.reserve(len(wanted), within=INLINE_WAIT, patience=RESERVE_TIMEOUT)
        return [*slots, *[None] * (len(wanted) - len(slots))]


class SlidingWindow:
    """A sliding-window rate limiter: at most ``rate`` in any second (below 1: one in 1/rate s).

    Times are the monotonic clock's.
    """

    def __init__(self, rate: float) -> None:
        limit = max(1, int(rate))
        self._span = limit / rate
        self._reserved: deque[float] = deque(maxlen=limit)

    def reserve(self, at: float) -> float:
        """``at``, or the earliest time after it that keeps to the rate; never in the past."""
        at = max(at, time.monotonic())
        if len(self._reserved) == self._reserved.maxlen:
            at = max(at, self._reserved[0] + self._span)
        self._reserved.append(at)
        return at
