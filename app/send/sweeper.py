"""Periodic sweeps: lapsed leases, queued messages past their deadline, expired idempotency keys.

Every process sweeps, also one without workers. Concurrent sweeps are safe: a message is changed
only if it is still in the state in which it was found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.send import outcomes
from app.send.outcome_recorder import OutcomeRecorder
from app.store.clock import Now, utc_now
from app.store.idempotency import IdempotencyStore
from app.store.messages import MessageStore

SWEEP_INTERVAL = 1.0
KEY_SWEEP_INTERVAL = 60.0
MAX_MESSAGES = 200
"""Messages of one sweep. A full one is followed by the next without a pause."""
MAX_KEYS = 1_000

log = structlog.get_logger(__name__)


class Sweeper:
    """Runs until cancelled."""

    def __init__(
        self,
        *,
        store: MessageStore,
        keys: IdempotencyStore,
        recorder: OutcomeRecorder,
        is_under_way: Callable[[UUID], bool],
        now: Now = utc_now,
    ) -> None:
        """``is_under_way``: whether this process is sending a message right now."""
        self._store = store
        self._is_under_way = is_under_way
        self._now = now
        self._keys = keys
        self._recorder = recorder

    async def run(self) -> None:
        """Settle messages whose lease lapsed, or whose deadline passed in the queue."""
        while True:
            found = await _run_safely(self.settle_lapsed) + await _run_safely(
                self.settle_past_deadline
            )
            await asyncio.sleep(SWEEP_INTERVAL if found < MAX_MESSAGES else 0)

    async def run_key_expiry(self) -> None:
        """Delete idempotency keys that are past their 24 hours."""
        while True:
            deleted = await _run_safely(self.delete_expired_keys)
            await asyncio.sleep(KEY_SWEEP_INTERVAL if deleted < MAX_KEYS else SWEEP_INTERVAL)

    async def settle_lapsed(self) -> int:
        """Lapsed leases, as after a crash: UNCONFIRMED, never a second text. Returns how many."""
        now = self._now()
        found = await self._store.lapsed(now=now, limit=MAX_MESSAGES)
        lapsed = [message for message in found if not self._is_under_way(message.id)]
        for message in lapsed:
            log.error("lease_lapsed", message_id=str(message.id), consequence="UNCONFIRMED")
        why = "the process that was sending it ended before it had iovox's answer"
        await asyncio.gather(
            *(self._recorder.settle(outcomes.unconfirmed(message, now, why)) for message in lapsed)
        )
        return len(lapsed)

    async def settle_past_deadline(self) -> int:
        """QUEUED messages past their deadline: UNSENT, with the reasons. Returns how many."""
        now = self._now()
        late = await self._store.past_deadline(now=now, limit=MAX_MESSAGES)
        for found in late:
            log.warning("given_up", message_id=str(found.message.id), consequence="UNSENT")
        await asyncio.gather(
            *(
                self._recorder.settle(outcomes.past_deadline(found.message, found.steps, now))
                for found in late
            )
        )
        return len(late)

    async def delete_expired_keys(self) -> int:
        """One bounded deletion; returns how many."""
        return await self._keys.delete_expired(now=self._now(), limit=MAX_KEYS)


async def _run_safely(sweep: Callable[[], Awaitable[int]]) -> int:
    """The count of one sweep; 0 for one that failed, which is logged and retried next time.

    A sweeper that ended would leave messages stuck.
    """
    try:
        return await sweep()
    except (StoreUnavailable, StoreRefused) as error:
        log.warning("sweep_waits", reason=error.detail)
    except Exception:
        log.exception("sweep_failed")
    return 0
