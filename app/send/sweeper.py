"""Looks after messages that nobody looks after: what crashed, what was outlived, what is old.

Every process sweeps, also one without workers; two at once do no harm, since only what is still
as it was found is changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.send import outcomes
from app.send.submitter import Submitter
from app.store.idempotency import IdempotencyStore
from app.store.messages import MessageStore

SWEEP_EVERY = 1.0
FORGET_EVERY = 60.0
AT_ONCE = 200
"""Messages of one look: the next look follows at once where there are more."""
KEYS_AT_ONCE = 1_000

log = structlog.get_logger(__name__)


class Sweeper:
    """Runs until cancelled."""

    def __init__(
        self, *, store: MessageStore, keys: IdempotencyStore, submitter: Submitter
    ) -> None:
        self._store = store
        self._keys = keys
        self._submitter = submitter

    async def run(self) -> None:
        """Settle what lapsed and what was outlived."""
        while True:
            found = await _surviving(self.settle_lapsed) + await _surviving(self.give_up_outlived)
            await asyncio.sleep(SWEEP_EVERY if found < AT_ONCE else 0)

    async def run_forgetting(self) -> None:
        """Delete idempotency keys that are past their 24 hours."""
        while True:
            gone = await _surviving(self.forget_keys)
            await asyncio.sleep(FORGET_EVERY if gone < KEYS_AT_ONCE else SWEEP_EVERY)

    async def settle_lapsed(self) -> int:
        """Leases that ran out, as after a crash: UNCONFIRMED, never a second text."""
        now = datetime.now(UTC)
        lapsed = await self._store.lapsed(now=now, limit=AT_ONCE)
        for message in lapsed:
            log.error("lease_lapsed", message_id=str(message.id), consequence="UNCONFIRMED")
        why = "whoever sent it did not live to see the answer"
        await asyncio.gather(
            *(self._submitter.settle(outcomes.unconfirmed(message, now, why)) for message in lapsed)
        )
        return len(lapsed)

    async def give_up_outlived(self) -> int:
        """QUEUED messages whose time is over: UNSENT, with what kept them."""
        now = datetime.now(UTC)
        outlived = await self._store.outlived(now=now, limit=AT_ONCE)
        for found in outlived:
            log.warning("given_up", message_id=str(found.message.id), consequence="UNSENT")
        await asyncio.gather(
            *(
                self._submitter.settle(outcomes.outlived(found.message, found.steps, now))
                for found in outlived
            )
        )
        return len(outlived)

    async def forget_keys(self) -> int:
        """One bounded deletion; answers how many went."""
        return await self._keys.forget_old(now=datetime.now(UTC), limit=KEYS_AT_ONCE)


async def _surviving(look: Callable[[], Awaitable[int]]) -> int:
    """A look that fails is made again later; a sweeper that ends would leave messages stuck."""
    try:
        return await look()
    except (StoreUnavailable, StoreRefused) as error:
        log.warning("sweep_waits", reason=error.detail)
    except Exception:
        log.exception("sweep_failed")
    return 0
