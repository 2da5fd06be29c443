"""Brings back, from a journal, what a database may have forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import UUID

import structlog

from app.model.audit import Entry
from app.model.fact import (
    Accepted,
    Arrived,
    Audited,
    Ended,
    Erased,
    Held,
    OnWire,
    Position,
    Recorded,
    Settled,
)
from app.model.receipt import Receipt, Rejection, interpret
from app.record.reading import Batch, Start, batches, leases_given_back
from app.store.bringing_back import BringingBackStore, BroughtBack
from app.store.forks import ForkStore
from app.store.presence import PresenceStore
from app.store.queue import QueueStore
from app.store.removals import RemovalStore

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Report:
    """What was found in a journal. ``is_whole``: nothing of it was missing or damaged.
    ``is_remembered``: the database has a mark of its present incarnation, so it has lost nothing
    since, and a gap in the journal does not matter.
    """

    done: BroughtBack = field(default_factory=BroughtBack)
    is_whole: bool = True
    is_remembered: bool = False
    held: Held | None = None
    settled: dict[UUID, Settled] = field(default_factory=dict)
    audited: dict[UUID, Entry] = field(default_factory=dict)
    erased: list[Erased] = field(default_factory=list)

    @staticmethod
    def begin(start: Start, incarnation: UUID) -> Report:
        """Before anything is read."""
        is_remembered = start.incarnation == incarnation
        return Report(is_whole=start.is_whole, is_remembered=is_remembered)

    def log(self, folder: Path, began: float) -> None:
        """Log what was brought back. ``began``: by ``time.monotonic``."""
        done = self.done
        say = log.warning if done else log.info
        say(
            "journal_checked",
            journal=folder.name,
            messages=done.messages,
            outcomes=done.outcomes,
            idempotency_keys=done.keys,
            receipts=done.receipts,
            seconds=round(time.monotonic() - began, 3),
        )


class Restorer:
    """Idempotent: what the database has is left alone. Raises StoreUnavailable."""

    def __init__(
        self,
        *,
        store: BringingBackStore,
        presence: PresenceStore,
        queue: QueueStore,
        record: Callable[[Sequence[Receipt | Rejection]], Awaitable[None]],
        host: str,
        removals: RemovalStore,
        forks: ForkStore,
        purge: Callable[[datetime], None],
    ) -> None:
        """``record`` stores calls to /dlr; ``purge`` begins to delete what is older than a time."""
        self._store = store
        self._presence = presence
        self._queue = queue
        self._record = record
        self._host = host
        self._removals = removals
        self._forks = forks
        self._purge = purge

    async def bring_back(
        self,
        folder: Path,
        start: Position,
        until: Position | None,
        *,
        incarnation: UUID,
        generation: str,
        report: Report,
    ) -> None:
        """Everything between two places of a journal, in that incarnation of the database."""
        reader = batches(folder, start, until)
        while (batch := await asyncio.to_thread(_next, reader)) is not None:
            report.is_whole = report.is_whole and batch.is_whole
            facts = [f for f in batch.facts if isinstance(f, Recorded | OnWire | Ended | Accepted)]
            if facts:
                report.done.add(
                    await self._store.bring_back(
                        facts, incarnation=incarnation, generation=generation
                    )
                )
            await self._bring_back_calls(batch, report)
            for fact in batch.facts:
                if isinstance(fact, Held):
                    report.held = fact
                elif isinstance(fact, Settled):
                    report.settled[fact.id] = fact
                elif isinstance(fact, Audited):
                    report.audited[fact.entry.id] = fact.entry
                elif isinstance(fact, Erased):
                    report.erased.append(fact)
        await self._end_forks(folder, start, report)

    async def finish(self, folder: Path, report: Report) -> None:
        """After everything is brought back: repeat deletions, settlements and a hold; hold the
        queue where the journal has a gap.
        """
        before = await self._removals.take_away_again(report.audited.values(), report.erased)
        if before is not None:
            self._purge(before)
        for settled in report.settled.values():
            await self._queue.settle(settled.before, by=settled.by, id_=settled.id)
        if report.held is not None and report.held.reason is not None:
            await self._presence.hold(report.held.by, report.held.reason)
        if not (report.is_whole or report.is_remembered):
            log.error(
                "journal_has_a_gap",
                folder=str(folder),
                consequence="the queue is held: what is queued may have been sent already",
                todo="`dlr queue`, `dlr queue settle`, `dlr queue release`",
            )
            why = f"the journal {folder.name} on {self._host} does not reach back far enough"
            await self._presence.hold(f"{folder.name} on {self._host}", why)

    async def _end_forks(self, folder: Path, start: Position, report: Report) -> None:
        """Settle as UNCONFIRMED what may have been sent by two leases: an operator had released the
        queue before the process of this journal came back.

        The journal is read once more, as it may have given such a lease back meanwhile.
        """
        if not report.done.forks:
            return
        given_back = await asyncio.to_thread(leases_given_back, folder, start)
        ended = await self._forks.unconfirm(report.done.forks - given_back)
        report.done.forks.clear()
        report.done.outcomes += ended
        if ended:
            log.error(
                "messages_perhaps_sent_twice",
                journal=folder.name,
                messages=ended,
                consequence="they are UNCONFIRMED and never sent again",
                why="the queue was released while the process of this journal was away",
            )

    async def _bring_back_calls(self, batch: Batch, report: Report) -> None:
        calls = [a for fact in batch.facts if isinstance(fact, Arrived) for a in fact.arrivals]
        if not calls:
            return
        read = [interpret(arrival) for arrival in calls]
        receipts = [call for call in read if isinstance(call, Receipt)]
        if receipts:
            report.done.receipts += await self._store.missing(receipts)
        await self._record(read)


def _next(reader: Iterator[Batch]) -> Batch | None:
    return next(reader, None)
