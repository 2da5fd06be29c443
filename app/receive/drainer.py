"""The drainer: moves the spool into the database, oldest first, while new receipts arrive."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

from app.errors import StoreUnavailable, Unavailable
from app.model.receipt import interpret
from app.ops.metrics import Metrics
from app.parts.lifecycle import wait_for_event
from app.parts.private_files import make_private_folder, open_private
from app.receive.recorder import Call, Recorder
from app.receive.spool_queue import SpoolQueue
from app.store.watch import DatabaseWatch

BATCH = 500
LOOK_EVERY = 1.0
"""Seconds between checks of a spool that this process did not fill: another one may have died."""
PATIENCE = 10.0
"""Seconds for one batch: five times a receipt's, as no caller waits for it."""
PAUSE = 0.05
"""Seconds before a spool that was just emptied is checked again, so that a batch accumulates."""

log = structlog.get_logger(__name__)


class Drainer:
    """Runs in every process; a file lock lets one of them work at a time.

    Guarantee: an arrival is deleted from the spool only after its commit. Killed in between, it is
    replayed, which the store recognises by the arrival's id.
    """

    def __init__(
        self,
        *,
        spool: SpoolQueue,
        recorder: Recorder,
        watch: DatabaseWatch,
        metrics: Metrics,
        lock: Path,
        patience: float = PATIENCE,
    ) -> None:
        self._spool = spool
        self._recorder = recorder
        self._watch = watch
        self._metrics = metrics
        self._lock = lock
        self._patience = patience
        self._largest = BATCH
        self._commits: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Drain whenever there is something and a database to take it. Runs until cancelled."""
        while True:
            await self._watch.wait_until_up()
            try:
                with _exclusive(self._lock) as is_mine:
                    if is_mine:
                        await self.drain()
            except (Unavailable, StoreUnavailable) as error:
                log.warning("drain_interrupted", reason=error.detail)
                await asyncio.sleep(LOOK_EVERY)
            except Exception:
                log.exception("drain_failed", consequence="retried; the spool keeps them")
                await asyncio.sleep(LOOK_EVERY)
            await self._wait_for_work()

    async def drain(self) -> int:
        """Empty the spool; returns how many arrivals it held. Raises what stopped it."""
        drained = 0
        self._spool.filled.clear()
        while rows := await self._spool.oldest(self._largest):
            await self._record([interpret(arrival) for _, arrival in rows])
            await self._spool.forget(rows[-1][0])
            drained += len(rows)
            self._metrics.receipts_drained.inc(len(rows))
            self._largest = min(self._largest * 2, BATCH)
        if drained:
            log.info("spool_drained", receipts=drained)
            await self._spool.tidy()
        return drained

    async def _record(self, calls: Sequence[Call]) -> None:
        commit = asyncio.create_task(self._recorder.record(calls))
        self._commits.add(commit)
        commit.add_done_callback(self._ended)
        done, _ = await asyncio.wait({commit}, timeout=self._patience)
        if not done:
            commit.cancel()  # not awaited: on a silent connection that takes many seconds
            self._largest = max(1, self._largest // 2)  # a batch of this size might never finish
            self._watch.report_down(f"a batch took longer than {self._patience:g} s")
            raise StoreUnavailable("the database is too slow to drain into")
        try:
            commit.result()
        except StoreUnavailable as error:
            self._watch.report_down(error.detail)
            raise

    def _ended(self, commit: asyncio.Task[None]) -> None:
        self._commits.discard(commit)
        if not commit.cancelled():
            commit.exception()  # retrieved, or asyncio logs it; a late commit is replayed

    async def _wait_for_work(self) -> None:
        await wait_for_event(self._spool.filled, LOOK_EVERY)
        await asyncio.sleep(PAUSE)


@contextmanager
def _exclusive(lock: Path) -> Iterator[bool]:
    """Whether this process holds the lock; the kernel releases it if the process is killed."""
    make_private_folder(lock.parent)  # it may have been deleted
    with open(open_private(lock), "rb") as file:  # noqa: PTH123  it is open already
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
