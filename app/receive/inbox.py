"""Where a receipt becomes durable: in the database if that answers in time, else in the spool.

Delivery guarantee of ``Inbox.accept``: when it returns, the call is on durable storage and reaches
the database exactly once, whatever breaks or is killed afterwards. When it raises Unavailable, the
caller must not be told otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from app.batcher import Batcher, BatcherClosed, BatcherFull
from app.errors import StoreUnavailable, Unavailable
from app.metrics import Metrics
from app.model.receipt import Arrival, interpret
from app.receive.recorder import Call, Recorder
from app.receive.spool_queue import SpoolQueue
from app.store.watch import DatabaseWatch

LARGEST_BATCH = 256
WRITERS = 2
"""Two batches at once: one is prepared here while PostgreSQL works on the other."""
CAPACITY = 2_000
"""Receipts that may wait for their batch; with more, the database is behind and the spool helps."""

log = structlog.get_logger(__name__)


class Inbox:
    """Takes every authenticated call, and is never without a way to keep it."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        spool: SpoolQueue,
        watch: DatabaseWatch,
        metrics: Metrics,
        patience: float,
    ) -> None:
        """``patience``: seconds that a commit may take before the spool is used."""
        self._recorder = recorder
        self._spool = spool
        self._watch = watch
        self._metrics = metrics
        self._patience = patience
        self._commits: set[asyncio.Task[None]] = set()
        self._batches: Batcher[Call, None] = Batcher(
            self._write, largest=LARGEST_BATCH, capacity=CAPACITY, writers=WRITERS
        )

    async def accept(self, arrival: Arrival) -> Call:
        """Keep a call; answers what it was understood as. Raises Unavailable."""
        call = interpret(arrival)
        try:
            if self._watch.is_up:
                await self._batches.submit(call)
                return call
        except BatcherFull:
            log.warning("database_behind", consequence="receipts go to the spool")
        except BatcherClosed:
            raise Unavailable("The service is shutting down") from None
        await self._keep([call])
        return call

    async def close(self) -> None:
        """Take nothing more; return when everything taken is durable."""
        await self._batches.close()

    async def _write(self, calls: Sequence[Call]) -> Sequence[None]:
        if not (self._watch.is_up and await self._commit(calls)):
            await self._keep(calls)
        return [None] * len(calls)

    async def _keep(self, calls: Sequence[Call]) -> None:
        await self._spool.append([call.arrival for call in calls])
        self._metrics.receipts_spooled.inc(len(calls))

    async def _commit(self, calls: Sequence[Call]) -> bool:
        """Whether the database has them for certain.

        Cancelling a database call does not bound its time, so it runs in a task of its own. One
        that was too slow may still land; the store knows the arrivals again when they are replayed.
        """
        task = asyncio.create_task(self._recorder.record(calls))
        self._commits.add(task)
        task.add_done_callback(self._ended)
        done, _ = await asyncio.wait({task}, timeout=self._patience)
        if not done:
            self._watch.report_down(f"a commit took longer than {self._patience:g} s")
            task.cancel()
            return False
        error = task.exception()
        if error is None:
            return True
        if isinstance(error, StoreUnavailable):
            self._watch.report_down(error.detail)
        else:
            log.error("receipts_not_recorded", consequence="they go to the spool", exc_info=error)
        return False

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._commits.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has seen it; a late one is answered by the spool
