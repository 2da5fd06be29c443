"""The queue's worker: claims due messages, round robin over the apps, and attempts them.

Several replicas share the queue; each message is leased to one of them. Only messages that can be
sent at once are claimed: one that is leased when the process dies ends UNCONFIRMED, although it was
never sent.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.model.message import Message
from app.parts.lifecycle import wait_for_event
from app.record.journal import Journal
from app.send.gate import Gate
from app.send.submitter import Lease, Submitter
from app.store.clock import Now, utc_now
from app.store.messages import MessageStore

POLL_INTERVAL = 1.0
"""Seconds between polls without a wake-up: one may be lost."""
SHORT_POLL_INTERVAL = 0.05
"""Seconds to the next poll while other replicas are claiming, or the rate is used up for now."""
RESERVE_AHEAD = timedelta(seconds=0.25)
"""How far ahead slots are reserved: enough to stay busy, few to lose in a crash."""
MAX_CLAIM = 100
CLAIM_LOST = "the result of its claim was lost; it was not attempted"

log = structlog.get_logger(__name__)


class QueueWorker:
    """Attempts queued messages, at most ``concurrency`` at once."""

    def __init__(
        self,
        *,
        store: MessageStore,
        submitter: Submitter,
        gate: Gate,
        concurrency: int,
        journal: Journal | None = None,
        now: Now = utc_now,
    ) -> None:
        self._store = store
        self._journal = journal or Journal()
        self._now = now
        self._submitter = submitter
        self._gate = gate
        self._concurrency = concurrency
        self._min_claim = max(1, concurrency // 8)  # not one claim for each attempt that ends
        self._attempts: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._polling: asyncio.Task[float] | None = None
        self._more_is_due = False
        self._last_app = ""
        # Leases of claims that failed, any of which may have been committed; by the monotonic
        # clock, when each ends.
        self._failed_claims: dict[UUID, float] = {}
        self._looked_at = float("-inf")

    def wake(self) -> None:
        """Poll now: there may be due messages."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled. Attempts under way then are finished by ``close``."""
        while True:
            self._wake.clear()
            # A task of its own: a stop between a claim and its attempts would strand messages.
            self._polling = asyncio.create_task(self._poll())
            pause = await asyncio.shield(self._polling)
            if pause:
                await wait_for_event(self._wake, pause)

    async def close(self) -> None:
        """Return when every attempt under way has ended; each is bounded by the client."""
        if self._polling is not None:
            await asyncio.wait({self._polling})
        with suppress(StoreUnavailable, StoreRefused):
            await self._give_back_failed_claims()
        if self._attempts:
            await asyncio.wait(set(self._attempts))

    async def _poll(self) -> float:
        """Start what may be sent; returns the seconds until the next poll."""
        try:
            return await self._start_due()
        except (StoreUnavailable, StoreRefused) as error:
            log.warning("queue_waits", reason=error.detail)
        except Exception:
            log.exception("queue_failed")
        return POLL_INTERVAL

    async def _start_due(self) -> float:
        if self._failed_claims and time.monotonic() - self._looked_at >= POLL_INTERVAL:
            self._looked_at = time.monotonic()
            await self._give_back_failed_claims()
        breaker = self._gate.breaker
        free = min(MAX_CLAIM, self._concurrency - len(self._attempts))
        if free < self._min_claim:
            return POLL_INTERVAL  # or when an attempt ends
        if breaker.next_probe_in:
            return min(POLL_INTERVAL, breaker.next_probe_in)
        if not self._more_is_due and (pause := await self._seconds_until_due()):
            breaker.record_drained()
            return pause
        probing = breaker.is_open
        wanted = breaker.allow(free)
        lease = Lease(self._journal.incarnation)
        claimed = await self._claim(wanted, probing=probing) if wanted else []
        self._more_is_due = len(claimed) == wanted
        if not claimed:
            breaker.release_probe()
            return SHORT_POLL_INTERVAL
        for message, slot in claimed:
            self._start(message, slot, lease)
        return 0.0

    async def _claim(self, wanted: int, *, probing: bool) -> list[tuple[Message, datetime]]:
        lease, until = uuid4(), self._submitter.lease_until(self._now() + RESERVE_AHEAD)
        try:
            claimed = await self._store.claim(
                limit=wanted,
                lease=lease,
                lease_until=until,
                pace=self._gate.pace,
                within=RESERVE_AHEAD,
                after_app=self._last_app,
                probing=probing,
            )
        except Exception:
            lasts = (until - self._now()).total_seconds()
            self._failed_claims[lease] = time.monotonic() + lasts
            self._gate.breaker.release_probe()
            raise
        if claimed:
            self._last_app = claimed[-1][0].app
        return claimed

    async def _give_back_failed_claims(self) -> None:
        """Queue again what a claim has leased whose result was lost with its connection. Nobody has
        attempted it, and it would end UNCONFIRMED. A commit may come late, so each lease is looked
        for until it has ended.
        """
        now = time.monotonic()
        self._failed_claims = {k: end for k, end in self._failed_claims.items() if end > now}
        if not self._failed_claims:
            return
        most = MAX_CLAIM * len(self._failed_claims)
        found = await self._store.leased(self._failed_claims, limit=most)
        for message in found:
            log.warning("claim_given_back", message_id=str(message.id), why=CLAIM_LOST)
        await asyncio.gather(*(self._submitter.give_back(one, CLAIM_LOST) for one in found))

    async def _seconds_until_due(self) -> float:
        """Seconds until a message is due, at most POLL_INTERVAL; 0 if one is."""
        due_at = await self._store.next_due_at()
        if due_at is None:
            return POLL_INTERVAL
        return min(POLL_INTERVAL, max(0.0, (due_at - self._now()).total_seconds()))

    def _start(self, message: Message, slot: datetime, lease: Lease) -> None:
        task = asyncio.create_task(self._attempt(message, slot, lease))
        self._attempts.add(task)
        task.add_done_callback(self._attempt_done)

    async def _attempt(self, message: Message, slot: datetime, lease: Lease) -> None:
        await self._gate.wait_until(slot)
        await self._submitter.attempt(message, lease)

    def _attempt_done(self, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        if self._concurrency - len(self._attempts) >= self._min_claim:
            self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("attempt_failed", exc_info=task.exception())
