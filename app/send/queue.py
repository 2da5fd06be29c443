"""The queue's worker: takes what is due, in turns between apps, and attempts it.

Several replicas share the queue; each message is leased to one of them. Only what can go at once
is taken: a message that is leased when the process dies is UNCONFIRMED, although it never left.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.model.message import Message
from app.parts.lifecycle import wait_for_event
from app.send.gate import Gate
from app.send.submitter import Submitter
from app.store.messages import MessageStore

LOOK_EVERY = 1.0
"""Seconds between looks when nobody says that there is work: a wake-up may be lost."""
LOOK_AGAIN = 0.05
"""Seconds until the next look where others are claiming, or the rate is used up for now."""
AHEAD = timedelta(seconds=0.25)
"""How far ahead moments are taken: enough to keep busy, little to lose in a crash."""
BATCH = 100

log = structlog.get_logger(__name__)


class QueueWorker:
    """Attempts queued messages, at most ``concurrency`` at once."""

    def __init__(
        self, *, store: MessageStore, submitter: Submitter, gate: Gate, concurrency: int
    ) -> None:
        self._store = store
        self._submitter = submitter
        self._gate = gate
        self._concurrency = concurrency
        self._least = max(1, concurrency // 8)  # not one claim for each attempt that ends
        self._attempts: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._turn: asyncio.Task[float] | None = None
        self._more_is_due = False
        self._served_last = ""

    def wake(self) -> None:
        """There is work."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled. What is under way then is finished by ``close``."""
        while True:
            self._wake.clear()
            # A task of its own: a stop between a claim and its attempts would strand messages.
            self._turn = asyncio.create_task(self._take_turn())
            pause = await asyncio.shield(self._turn)
            await self._sleep(pause)

    async def close(self) -> None:
        """Return when every attempt under way has ended; each is bounded by the client."""
        if self._turn is not None:
            await asyncio.wait({self._turn})
        if self._attempts:
            await asyncio.wait(set(self._attempts))

    async def _take_turn(self) -> float:
        """Start what can go; answers after how many seconds to look again."""
        try:
            return await self._start_due()
        except (StoreUnavailable, StoreRefused) as error:
            log.warning("queue_waits", reason=error.detail)
        except Exception:
            log.exception("queue_failed")
        return LOOK_EVERY

    async def _start_due(self) -> float:
        free = min(BATCH, self._concurrency - len(self._attempts))
        if free < self._least:
            return LOOK_EVERY  # or when an attempt ends
        if self._gate.breaker.opens_in:
            return min(LOOK_EVERY, self._gate.breaker.opens_in)
        if not self._more_is_due and (pause := await self._until_due()):
            self._gate.breaker.caught_up()
            return pause
        probing = self._gate.breaker.is_open
        wanted = self._gate.breaker.admit(free)
        claimed = await self._claim(wanted, probing=probing) if wanted else []
        self._more_is_due = len(claimed) == wanted
        if not claimed:
            self._gate.breaker.unused()
            return LOOK_AGAIN
        for message, moment in claimed:
            self._start(message, moment)
        return 0.0

    async def _claim(self, wanted: int, *, probing: bool) -> list[tuple[Message, datetime]]:
        claimed = await self._store.claim(
            limit=wanted,
            lease=uuid4(),
            lease_until=self._submitter.lease_until(datetime.now(UTC) + AHEAD),
            pace=self._gate.pace,
            within=AHEAD,
            behind=self._served_last,
            probing=probing,
        )
        if claimed:
            self._served_last = claimed[-1][0].app
        return claimed

    async def _until_due(self) -> float:
        """Seconds until something is due; 0 where something is."""
        due_at = await self._store.next_due_at()
        if due_at is None:
            return LOOK_EVERY
        return min(LOOK_EVERY, max(0.0, (due_at - datetime.now(UTC)).total_seconds()))

    def _start(self, message: Message, moment: datetime) -> None:
        task = asyncio.create_task(self._attempt(message, moment))
        self._attempts.add(task)
        task.add_done_callback(self._ended)

    async def _attempt(self, message: Message, moment: datetime) -> None:
        await self._gate.wait_for(moment)
        await self._submitter.attempt(message)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        if self._concurrency - len(self._attempts) >= self._least:
            self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("attempt_failed", exc_info=task.exception())

    async def _sleep(self, seconds: float) -> None:
        if seconds:
            await wait_for_event(self._wake, seconds)
