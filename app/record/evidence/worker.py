"""The background tasks of the log: append, sign checkpoints, have them stamped, send heartbeats."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

import structlog

from app.errors import StoreRefused, StoreUnavailable, Unavailable
from app.ops.metrics import Metrics
from app.record.evidence.log import EvidenceLog
from app.record.evidence.stamping import Stamper
from app.store.evidence.reading import EvidenceReader

POLL_EVERY = 1.0
"""Seconds between checks for anything to append."""
SIGNING_EVERY = 10.0
"""Seconds between checks for a checkpoint that is due, or without a time stamp."""

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


class EvidenceWorker:
    """Every process runs one; the append lock lets one at a time append."""

    def __init__(
        self,
        *,
        log: EvidenceLog,
        reader: EvidenceReader,
        stamper: Stamper | None,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._log = log
        self._reader = reader
        self._stamper = stamper
        self._metrics = metrics
        self._now = now
        self._polled_at = float("-inf")

    async def run(self) -> None:
        """Append what there is. Runs until cancelled."""
        while True:
            is_done = await self._guarded(self._append)
            await asyncio.sleep(0 if is_done is False else POLL_EVERY)

    async def run_signing(self) -> None:
        """Sign checkpoints when they are due. Runs until cancelled."""
        while True:
            await self._guarded(self._sign)
            await asyncio.sleep(SIGNING_EVERY)

    async def run_stamping(self) -> None:
        """Have checkpoints stamped, if there is an authority: a task of its own, so that a slow one
        delays nothing else. Runs until cancelled.
        """
        if self._stamper is None:
            return
        while True:
            await self._guarded(self._stamper.stamp_newest)
            await asyncio.sleep(SIGNING_EVERY)

    async def _append(self) -> bool:
        """Append a batch. Returns whether nothing else was to be appended.

        Between the batches of a backlog it polls only every POLL_EVERY: the queries cost as much
        as many facts.
        """
        now = time.monotonic()
        if now - self._polled_at >= POLL_EVERY:
            must_append = await self._log.heartbeat()
            waits, since = await self._reader.lag()
            age = (self._now() - since).total_seconds() if since else 0.0
            self._metrics.evidence_lag.set(max(0.0, age))
            self._polled_at = now
            if not (waits or must_append) and self._log.is_opened:
                return True
        return await self._log.append()

    async def _sign(self) -> None:
        current, _ = await self._reader.newest()
        if current is not None:
            self._metrics.evidence_size.set(current.size)
        if await self._log.is_due():
            await self._log.sign()

    async def _guarded(self, work: Callable[[], Awaitable[Result]]) -> Result | None:
        """What ``work`` returns. A failure that may pass is logged: None."""
        try:
            return await work()
        except (StoreUnavailable, StoreRefused, Unavailable) as error:
            log.warning("evidence_waits", reason=error.detail)
            return None
