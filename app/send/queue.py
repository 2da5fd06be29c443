"""The queue's worker: takes what is due, in turns between apps, and attempts it.

Several replicas share the queue; each message is leased to one of them. A lease that runs out, as
after a crash, makes its message UNCONFIRMED, never a second text.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.model.message import Message
from app.send import outcomes
from app.send.gate import Gate
from app.send.submitter import Submitter
from app.store.messages import MessageStore

LOOK_EVERY = 1.0
"""Seconds between looks when nobody says that there is work: a wake-up may be lost."""
SWEEP_EVERY = 2.0
"""Seconds between looks for leases that ran out."""
BATCH = 100
LAPSED_AT_ONCE = 500

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
        self._attempts: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There is work."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled. What is under way then is finished by ``close``."""
        while True:
            self._wake.clear()
            try:
                started = await self._start_due()
                pause = 0.0 if started else await self._until_next()
            except (StoreUnavailable, StoreRefused) as error:
                log.warning("queue_waits", reason=error.detail)
                pause = LOOK_EVERY
            except Exception:
                log.exception("queue_failed")
                pause = LOOK_EVERY
            if pause:
                await self._sleep(pause)

    async def sweep(self) -> None:
        """Turn lapsed leases into UNCONFIRMED, again and again, until cancelled."""
        while True:
            try:
                await self.settle_lapsed()
            except (StoreUnavailable, StoreRefused) as error:
                log.warning("sweep_waits", reason=error.detail)
            except Exception:
                log.exception("sweep_failed")
            await asyncio.sleep(SWEEP_EVERY)

    async def settle_lapsed(self) -> int:
        """One look for leases that ran out; answers how many were found."""
        now = datetime.now(UTC)
        lapsed = await self._store.lapsed(now=now, limit=LAPSED_AT_ONCE)
        for message in lapsed:
            why = "whoever sent it did not live to see the answer"
            log.error("lease_lapsed", message_id=str(message.id), consequence="UNCONFIRMED")
            await self._submitter.settle(outcomes.unconfirmed(message, now, why))
        return len(lapsed)

    async def close(self) -> None:
        """Return when every attempt under way has ended; each is bounded by the client."""
        if self._attempts:
            await asyncio.wait(set(self._attempts))

    async def _start_due(self) -> int:
        free = min(BATCH, self._concurrency - len(self._attempts))
        if free <= 0 or await self._store.next_due_at() is None:
            return 0
        moments = await self._gate.admit(free)
        if not moments:
            return 0
        now = datetime.now(UTC)
        claimed = await self._store.claim(
            limit=len(moments),
            now=now,
            lease=uuid4(),
            lease_until=self._submitter.lease_until(moments[-1]),
        )
        for message, moment in zip(claimed, moments, strict=False):
            task = asyncio.create_task(self._attempt(message, moment))
            self._attempts.add(task)
            task.add_done_callback(self._ended)
        return len(claimed)

    async def _attempt(self, message: Message, moment: datetime) -> None:
        wait = (moment - datetime.now(UTC)).total_seconds()
        if wait > 0:
            await asyncio.sleep(wait)
        await self._submitter.attempt(message)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("attempt_failed", exc_info=task.exception())

    async def _until_next(self) -> float:
        due_at = await self._store.next_due_at()
        if due_at is None:
            return LOOK_EVERY
        return min(LOOK_EVERY, max(0.02, (due_at - datetime.now(UTC)).total_seconds()))

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass
