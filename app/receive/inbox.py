"""Where a receipt becomes durable: in the database if that answers in time, else in the spool.

Delivery guarantee of ``Inbox.accept``: when it returns, the call is on durable storage and reaches
the database exactly once, whatever breaks or is killed afterwards. When it raises Unavailable, both
have failed, and the caller must not be told otherwise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from app.errors import StoreUnavailable, Unavailable
from app.model.receipt import Arrival, Rejection, interpret
from app.ops.metrics import Metrics
from app.parts.batcher import Batcher, BatcherClosed, BatcherFull, Ticket
from app.receive.recorder import Call, Recorder
from app.receive.spool_queue import SpoolQueue
from app.store.watch import DatabaseWatch

LARGEST_BATCH = 256
ENOUGH = 32
"""Receipts that are worth a transaction of their own: a statement costs PostgreSQL about as much as
five receipts, whatever is in it."""
CAPACITY = 2_000
"""Receipts that may wait for their batch; with more, the database is behind and the spool helps."""
SHARE_OF_WAITING = 0.5
"""Of a receipt's patience, what it may spend in the queue for the database to be still asked."""
COMPLAIN_EVERY = 10.0
"""Seconds between log lines that the database is behind."""

log = structlog.get_logger(__name__)

Commit = asyncio.Task[None]


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
        writers: int,
    ) -> None:
        """``patience``: seconds that a receipt waits for the database before the spool is used.

        ``writers``: how many batches the database works on at once with advantage.
        """
        self._recorder = recorder
        self._spool = spool
        self._watch = watch
        self._metrics = metrics
        self._patience = patience
        self._complained_at = float("-inf")
        self._commits: set[Commit] = set()
        self._keeping: set[asyncio.Task[None]] = set()
        self._batches: Batcher[tuple[float, Call], None] = Batcher(
            self._write, largest=LARGEST_BATCH, capacity=CAPACITY, writers=writers, enough=ENOUGH
        )

    async def accept(self, arrival: Arrival) -> Call:
        """Keep a call; answers what it was understood as. Raises Unavailable."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        call = self.take(arrival, kept)
        await kept
        return call

    def take(self, arrival: Arrival, ticket: Ticket[None]) -> Call:
        """What a call is understood as, at once. Later the ticket is told that it is kept.

        Raises Unavailable, or tells the ticket of it.
        """
        call = _understand(arrival)
        try:
            self._batches.hand_in((time.monotonic(), call), ticket)
        except BatcherFull:
            self._complain("more receipts than it keeps up with")
            keeping = asyncio.create_task(self._keep_alone(call, ticket))
            self._keeping.add(keeping)
            keeping.add_done_callback(self._keeping.discard)
        except BatcherClosed:
            raise Unavailable("The service is shutting down") from None
        return call

    async def close(self) -> None:
        """Take nothing more; return when everything taken is durable."""
        await self._batches.close()
        if self._keeping:
            await asyncio.wait(set(self._keeping))

    async def _write(self, items: Sequence[tuple[float, Call]]) -> Sequence[None]:
        calls = [call for _, call in items]
        left = items[0][0] + self._patience - time.monotonic()  # of the one that waits longest
        is_young = left >= self._patience * SHARE_OF_WAITING
        if self._watch.is_up and not is_young:
            self._complain("receipts wait too long for their turn")
        commit = self._begin(calls) if self._watch.is_up and is_young else None
        if commit is None or not await self._lands(commit, left):
            await self._keep_somehow(calls, commit)
        return [None] * len(calls)

    async def _keep_somehow(self, calls: Sequence[Call], commit: Commit | None) -> None:
        """The spool; and where that fails too, whatever may still become of the database."""
        try:
            await self._keep(calls)
        except Unavailable:
            if commit is None or commit.done():
                commit = self._begin(calls)
            if not await self._lands(commit, self._patience):
                raise
        finally:
            if commit is not None:
                commit.cancel()

    async def _keep_alone(self, call: Call, ticket: Ticket[None]) -> None:
        try:
            await self._keep([call])
        except Exception as error:  # noqa: BLE001  whoever waits is told
            if not ticket.done():
                ticket.set_exception(error)
        else:
            if not ticket.done():
                ticket.set_result(None)

    async def _keep(self, calls: Sequence[Call]) -> None:
        await self._spool.append([call.arrival for call in calls])
        self._metrics.receipts_spooled.inc(len(calls))

    def _begin(self, calls: Sequence[Call]) -> Commit:
        """Cancelling a database call does not bound its time, so it runs in a task of its own."""
        commit = asyncio.create_task(self._recorder.record(calls))
        self._commits.add(commit)
        commit.add_done_callback(self._ended)
        return commit

    async def _lands(self, commit: Commit, patience: float) -> bool:
        """Whether the database has the batch for certain.

        One that was too slow may still land; the store knows the arrivals again when they are
        replayed.
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
            commit.exception()  # whoever waited has seen it; a late one is answered by the spool

    def _complain(self, why: str) -> None:
        now = time.monotonic()
        if now - self._complained_at >= COMPLAIN_EVERY:
            log.warning("database_behind", why=why, consequence="receipts go to the spool")
            self._complained_at = now


def _understand(arrival: Arrival) -> Call:
    """What the bytes say. A fault of ours costs the answer, not the receipt."""
    try:
        return interpret(arrival)
    except Exception as error:
        log.exception("receipt_not_interpreted", arrival=str(arrival.id))
        return Rejection(arrival, 500, f"It could not be read: {type(error).__name__}")
