"""When a message may go to iovox: not while iovox is refusing everything, and not too fast."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.errors import Unavailable
from app.parts.batcher import Batcher, BatcherClosed, BatcherFull
from app.store.pace import PaceStore

REFUSALS_TO_OPEN = 20
OPEN_FOR = 5.0
"""Seconds before one message is let through to see how iovox is."""
INLINE_WAIT = timedelta(seconds=0.05)
"""How long a caller is kept for its moment under DLR_IOVOX_RATE before it is told QUEUED."""
BUSY_WAIT, BUSY_WAIT_UNDER_A_RATE = 1.0, 0.1
"""Seconds that a message waits for a free connection to iovox before it goes (back) to the queue.
Under a rate its moment has passed by then: too many replicas' late ones must not come together."""
LOOK_EVERY = 0.25
"""Seconds between looks whether those that were held back have all gone."""
PATIENCE = 5.0
"""Seconds for a moment to be taken; beyond it the database counts as away."""


class Breaker:
    """Opens after so many refusals in a row; then lets one through after a while, to find out.

    They have to be of different messages: one that is refused for ever says nothing of the others.

    Each process has its own. One that was let through and never heard of again keeps nobody back:
    the next one goes after the same while.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused: set[UUID] = set()
        self._next_probe_at: float | None = None
        self.is_behind = False
        """Whether messages that were held back may still wait; ``caught_up`` says that none do."""

    @property
    def is_open(self) -> bool:
        """Whether sends are held back."""
        return self._next_probe_at is not None

    @property
    def opens_in(self) -> float:
        """Seconds until one may go; 0 where any may."""
        if self._next_probe_at is None:
            return 0.0
        return max(0.0, self._next_probe_at - self._clock())

    def admit(self, wanted: int) -> int:
        """How many of ``wanted`` may go now: all, none while it is open, or one to find out."""
        if self._next_probe_at is None:
            return wanted
        if wanted < 1 or self.opens_in > 0:
            return 0
        self._next_probe_at = self._clock() + OPEN_FOR
        return 1

    def unused(self) -> None:
        """What was admitted did not go after all: another may find out at once."""
        if self._next_probe_at is not None:
            self._next_probe_at = self._clock()

    def answered(self) -> None:
        """iovox answered something else than 'later': it is there."""
        self._next_probe_at = None
        self._refused.clear()

    def refused(self, message_id: UUID) -> None:
        """It was surely not sent."""
        if len(self._refused) < REFUSALS_TO_OPEN:
            self._refused.add(message_id)
        if len(self._refused) >= REFUSALS_TO_OPEN:
            self._next_probe_at = self._clock() + OPEN_FOR
            self.is_behind = True

    def caught_up(self) -> None:
        """Nothing waits that could go now."""
        self.is_behind = False


@dataclass(frozen=True, slots=True)
class Admission:
    """When a message may go; None: not while its caller waits. A ``probe`` may take long."""

    moment: datetime | None
    probe: bool = False


class Gate:
    """The breaker and the rate together.

    The rate, in messages a second, is shared by all replicas through ``pace``. What the database
    held up then goes no faster: each process keeps to the rate by itself, too.

    After an outage new messages line up behind those that were held back. When none of those waits
    any more is told by whoever works the queue off; where that is another process, ``is_any_due``
    is asked, now and then.
    """

    def __init__(
        self,
        *,
        breaker: Breaker,
        pace: PaceStore | None,
        rate: float | None,
        is_any_due: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self.breaker = breaker
        self._is_any_due = is_any_due
        self._look_again_at = 0.0
        self.pace = pace
        self._window = Window(rate) if rate else None
        self._moments: Batcher[None, datetime | None] = Batcher(
            self._take, largest=1_000, capacity=10_000
        )

    async def admit(self) -> Admission:
        """Whether one message may go while its caller waits. Raises StoreUnavailable or, where too
        many wait to be told, Unavailable.
        """
        if self.breaker.is_behind and await self._is_still_behind():
            return Admission(None)
        probing = self.breaker.is_open
        if not self.breaker.admit(1):
            return Admission(None)
        moment = datetime.now(UTC) if self.pace is None else await self._next_moment()
        return Admission(moment, probe=probing and moment is not None)

    async def _next_moment(self) -> datetime | None:
        moment = None
        try:
            moment = await self._moments.submit(None)
        except (BatcherFull, BatcherClosed):
            raise Unavailable("Nothing was sent: too many wait, or we shut down") from None
        finally:
            if moment is None:
                self.breaker.unused()
        return moment

    async def _is_still_behind(self) -> bool:
        if self._is_any_due is None:
            return True  # or the queue's worker had said so
        if self.breaker.is_open:
            return False  # whoever sends inline finds out by itself whether it is over
        now = time.monotonic()
        if now < self._look_again_at:
            return True
        self._look_again_at = now + LOOK_EVERY
        if not await self._is_any_due():
            self.breaker.caught_up()
        return self.breaker.is_behind

    async def wait_for(self, moment: datetime) -> None:
        """Return at the moment."""
        wait = (moment - datetime.now(UTC)).total_seconds()
        if wait > 0:
            await asyncio.sleep(wait)

    async def in_turn(self) -> None:
        """Return once this process has not just used up its rate. For the last instant before a
        request is written: what waited for a connection would otherwise go all at once.
        """
        if self._window is not None:
            await self.wait_for(self._window.place(datetime.now(UTC)))

    async def close(self) -> None:
        """Give out what was asked for."""
        await self._moments.close()

    async def _take(self, wanted: Sequence[None]) -> list[datetime | None]:
        if self.pace is None:
            return [None] * len(wanted)
        taken = await self.pace.take(len(wanted), within=INLINE_WAIT, patience=PATIENCE)
        return [*taken, *[None] * (len(wanted) - len(taken))]


class Window:
    """Never more than ``rate`` in any second (or one, where the rate is less than that)."""

    def __init__(self, rate: float) -> None:
        most = max(1, int(rate))
        self._span = timedelta(seconds=most / rate)
        self._placed: deque[datetime] = deque(maxlen=most)

    def place(self, moment: datetime) -> datetime:
        """The moment, or the first one after it that keeps to the rate."""
        moment = max(moment, datetime.now(UTC))
        if len(self._placed) == self._placed.maxlen:
            moment = max(moment, self._placed[0] + self._span)
        self._placed.append(moment)
        return moment
