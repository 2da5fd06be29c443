"""Keeps the log up to date behind the journeys: appends, signs, remembers, has stamps made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

import structlog

from app.errors import StoreRefused, StoreUnavailable, Unavailable
from app.ops.metrics import Metrics
from app.record.evidence.log import EvidenceLog
from app.record.evidence.stamping import Stamper
from app.store.evidence.reading import EvidenceReader

EVERY = 1.0
"""Seconds between looks at what there is to append."""
SIGNATURE_EVERY = 10.0
"""Seconds between looks at whether a checkpoint is due."""

log = structlog.get_logger(__name__)


class EvidenceWorker:
    """Every process has one; whoever is first appends. Nothing waits for it."""

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
        self._looked_at = float("-inf")

    async def run(self) -> None:
        """Append what is there. Runs until cancelled."""
        while True:
            is_all = await self._guarded(self._append)
            await asyncio.sleep(0 if is_all is False else EVERY)

    async def run_signing(self) -> None:
        """Sign when it is due, and see to it that this disk has what others signed."""
        while True:
            await self._guarded(self._sign)
            await asyncio.sleep(SIGNATURE_EVERY)

    async def run_stamping(self) -> None:
        """Have checkpoints stamped, if there is an authority. Its absence delays nothing."""
        if self._stamper is None:
            return
        while True:
            await self._guarded(self._stamper.stamp_newest)
            await asyncio.sleep(SIGNATURE_EVERY)

    async def _append(self) -> bool:
        """Whether nothing is left to append. It looks once in a while: behind a batch that was not
        all there is another one, and a look costs as much as many facts.
        """
        now = time.monotonic()
        if now - self._looked_at >= EVERY:
            must_go_on = await self._log.heard()
            waits, since = await self._reader.lag()
            age = (self._now() - since).total_seconds() if since else 0.0
            self._metrics.evidence_lag.set(max(0.0, age))
            self._looked_at = now
            if not (waits or must_go_on) and self._log.is_begun:
                return True
        return await self._log.append()

    async def _sign(self) -> bool:
        current, _ = await self._reader.newest()
        if current is not None:
            self._metrics.evidence_size.set(current.size)
        if await self._log.is_due():
            await self._log.sign()
        return True

    async def _guarded(self, work: Callable[[], object]) -> bool | None:
        """None where it failed: it is tried again."""
        try:
            done: bool = await work()  # type: ignore[misc]
        except (StoreUnavailable, StoreRefused, Unavailable) as error:
            log.warning("evidence_waits", reason=error.detail)
            return None
        return done
