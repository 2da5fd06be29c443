"""Makes receipts durable: in the database if it responds in time, else in the spool.

Delivery guarantee of ``Inbox.accept``: when it returns, the call is on durable storage and reaches
the database exactly once, whatever breaks or is killed afterwards. When it raises Unavailable, both
have failed, and the call must not be answered 200.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from app.errors import StoreUnavailable, Unavailable
from app.model.receipt import Arrival, Rejection, interpret
from app.ops.metrics import Metrics
from app.parts.batcher import Batcher, BatcherClosed, BatcherFull, Waiter
from app.receive.recorder import Call, Recorder
from app.receive.spool_queue import SpoolQueue
from app.record.erased_lately import ErasedLately
from app.store.watch import DatabaseWatch

LARGEST_BATCH = 256
MIN_CONCURRENT = 32
"""Receipts that are committed concurrently with another batch. A statement costs PostgreSQL about
as much as five receipts, whatever it holds: smaller batches would cost more than they save
(docs/performance.md)."""
CAPACITY = 2_000
"""Receipts that may wait for their batch; beyond it the database is too slow, and the spool is
used."""
SHARE_OF_WAITING = 0.5
"""Share of its patience that a receipt may have spent in the queue and still be committed to the
database; one that has waited longer goes to the spool at once."""
WARN_EVERY = 10.0
"""Seconds between log lines about a database that is too slow."""

log = structlog.get_logger(__name__)

Commit = asyncio.Task[None]


class Inbox:
    """Takes every authenticated call and keeps it, in the database or in the spool."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        spool: SpoolQueue,
        watch: DatabaseWatch,
        metrics: Metrics,
        patience: float,
        writers: int,
        erased: ErasedLately | None = None,
    ) -> None:
        """``patience``: seconds that a receipt waits for the database before the spool is used.

        ``writers``: batches that are committed concurrently. Bodies of what is ``erased`` are not
        kept.
        """
        self._erased = erased or ErasedLately()
        self._recorder = recorder
        self._spool = spool
        self._watch = watch
        self._metrics = metrics
        self._patience = patience
        self._warned_at = float("-inf")
        self._commits: set[Commit] = set()
        self._spooling: set[asyncio.Task[None]] = set()
        self._batches: Batcher[tuple[float, Call], None] = Batcher(
            self._write,
            largest=LARGEST_BATCH,
            capacity=CAPACITY,
            writers=writers,
            min_concurrent=MIN_CONCURRENT,
        )

    async def accept(self, arrival: Arrival) -> Call:
        """Keep a call; returns the receipt or rejection that it was read as. Raises Unavailable."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        call = self.submit(arrival, kept)
        await kept
        return call

    def submit(self, arrival: Arrival, waiter: Waiter[None]) -> Call:
        """Read a call, and return the receipt or rejection at once; the waiter gets its result once
        that is durable.

        Raises Unavailable, or sets it as the waiter's exception.
        """
        call = _read(arrival)
        try:
            self._batches.enqueue((time.monotonic(), call), waiter)
        except BatcherFull:
            self._warn("more receipts than it keeps up with")
            spooling = asyncio.create_task(self._spool_alone(call, waiter))
            self._spooling.add(spooling)
            spooling.add_done_callback(self._spooling.discard)
        except BatcherClosed:
            raise Unavailable("The service is shutting down") from None
        return call

    async def close(self) -> None:
        """Take nothing more; return when everything taken is durable."""
        await self._batches.close()
        if self._spooling:
            await asyncio.wait(set(self._spooling))

    async def _write(self, items: Sequence[tuple[float, Call]]) -> Sequence[None]:
        calls = [call for _, call in items]
        left = items[0][0] + self._patience - time.monotonic()  # of the oldest
        is_fresh = left >= self._patience * SHARE_OF_WAITING
        if self._watch.is_up and not is_fresh:
            self._warn("receipts wait too long for their turn")
        commit = self._begin(calls) if self._watch.is_up and is_fresh else None
        if commit is None or not await self._is_committed(commit, left):
            await self._spool_or_commit(calls, commit)
        return [None] * len(calls)

    async def _spool_or_commit(self, calls: Sequence[Call], commit: Commit | None) -> None:
        """Spool the batch; if that fails as well, wait for the database once more."""
        try:
            await self._spool_all(calls)
        except Unavailable:
            if commit is None or commit.done():
                commit = self._begin(calls)
            if not await self._is_committed(commit, self._patience):
                raise
        finally:
            if commit is not None:
                commit.cancel()

    async def _spool_alone(self, call: Call, waiter: Waiter[None]) -> None:
        try:
            await self._spool_all([call])
        except Exception as error:  # noqa: BLE001  the waiter gets it
            if not waiter.done():
                waiter.set_exception(error)
        else:
            if not waiter.done():
                waiter.set_result(None)

    async def _spool_all(self, calls: Sequence[Call]) -> None:
        await self._spool.append([call.arrival for call in self._erased.strip(calls)])
        self._metrics.receipts_spooled.inc(len(calls))

    def _begin(self, calls: Sequence[Call]) -> Commit:
        """Cancelling a database call does not bound its time, so it runs in a task of its own."""
        commit = asyncio.create_task(self._recorder.record(calls))
        self._commits.add(commit)
        commit.add_done_callback(self._ended)
        return commit

    async def _is_committed(self, commit: Commit, patience: float) -> bool:
        """Whether the batch is known to be committed within ``patience`` seconds.

        A slower commit may still succeed; the store then recognises the arrivals by their ids when
        the spool is replayed.
        """
        done, _ = await asyncio.wait({commit}, timeout=patience)
        if not done:
            self._watch.report_down(f"a commit took longer than {patience:.1f} s")
            return False
        error = commit.exception()
        if isinstance(error, StoreUnavailable):
            self._watch.report_down(error.detail)
        elif error is not None:
            log.error("receipts_not_recorded", consequence="they go to the spool", exc_info=error)
        return error is None

    def _ended(self, commit: Commit) -> None:
        self._commits.discard(commit)
        if not commit.cancelled():
            commit.exception()  # retrieved, or asyncio logs it; a late one is covered by the spool

    def _warn(self, why: str) -> None:
        now = time.monotonic()
        if now - self._warned_at >= WARN_EVERY:
            log.warning("database_behind", why=why, consequence="receipts go to the spool")
            self._warned_at = now


def _read(arrival: Arrival) -> Call:
    """Parse a call. Where a bug of ours raises, it is kept as a rejection and answered 500."""
    try:
        return interpret(arrival)
    except Exception as error:
        log.exception("receipt_not_interpreted", arrival=str(arrival.id))
        return Rejection(arrival, 500, f"It could not be read: {type(error).__name__}")
