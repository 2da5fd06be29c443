"""How long the record is kept: texts, then everything, are deleted in small batches.

A batch is one short transaction, followed by a pause that is longer than it took, so that receipts
have the database to themselves most of the time. What was deleted stays deleted when the process is
killed, and the next run goes on from there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.model.audit import Action, Actor, Entry
from app.store.retention import RECORD, TEXTS, Batch, RetentionStore

DAILY = timedelta(days=1)
AT_ONCE = timedelta(seconds=10)
"""How often texts are dropped where they are kept for less than a day."""
JUST_ANSWERED = timedelta(seconds=10)
"""Where texts are not kept at all, they go this long after iovox has answered."""
LOOK_EVERY = 5.0
REST = 2.0
"""The pause after a batch, in multiples of its duration."""
SHORTEST_REST = 0.005
RETRY_EVERY = 5.0
"""Seconds until a purge that has to be repeated is tried again."""
SERVICE = Actor("service")
"""The actor of purges that the service does by itself."""

Counts = dict[str, int]
Progress = Callable[[Counts], None]

log = structlog.get_logger(__name__)


class Purger:
    """Deletes what is older than a time. ``rest``: the pause after a batch, in multiples of its
    duration.
    """

    def __init__(self, store: RetentionStore, *, rest: float = REST) -> None:
        self._store = store
        self._rest = rest

    async def purge(
        self,
        before: datetime,
        *,
        actor: Actor,
        progress: Progress | None = None,
        still: Callable[[], Awaitable[bool]] | None = None,
    ) -> Counts:
        """Delete messages with all that belongs to them, unmatched receipts, rejected calls,
        events, deliveries to webhooks and entries of the audit from before then; returns how many.

        ``progress`` is called after each batch; ``still`` returns whether to go on. The audit gets
        one entry, in the transaction of the first batch that deleted something.
        """
        entry = _once(actor.did(Action.PURGE, details={"before": before.isoformat()}))
        store, counts = self._store, Counts()
        for name, purge in (
            ("messages", store.purge_messages),
            ("unmatched ids", _without_cursor(store.purge_unmatched)),
            ("rejected calls", _without_cursor(store.purge_rejected)),
            ("events", _without_cursor(store.purge_events)),
            ("webhook deliveries", _without_cursor(store.purge_webhook_deliveries)),
            ("audit entries", _without_cursor(store.purge_audit)),
            ("notes of what was erased", _without_cursor(store.purge_erased)),
        ):
            after: UUID | None = UUID(int=0)
            telling: Entry | None = entry
            while after is not None:
                if still is not None and not await still():
                    return counts
                batch = await self._rested(purge(before=before, after=after, entry=telling))
                if batch.changed and name != "audit entries":  # among which it may be itself
                    telling = None
                counts[name] = counts.get(name, 0) + batch.changed
                counts["receipts"] = counts.get("receipts", 0) + batch.receipts
                after = batch.after
                if progress is not None:
                    progress(counts)
        return counts

    async def drop_texts(
        self, before: datetime, *, still: Callable[[], Awaitable[bool]] | None = None
    ) -> int:
        """Drop the texts of messages that iovox has answered before then; returns how many."""
        dropped = 0
        for drop, start in (
            (self._store.drop_texts, await self._store.texts_begin()),
            (self._store.drop_waiting_texts, UUID(int=0)),
        ):
            after: UUID | None = start
            while after is not None:
                if still is not None and not await still():
                    return dropped
                batch = await self._rested(drop(before=before, after=after))
                dropped += batch.changed
                after = batch.after
        return dropped

    async def purge_until_done(self, before: datetime, *, actor: Actor) -> None:
        """``purge``, tried again while the database is away, until it is complete."""
        while True:
            try:
                await self.purge(before, actor=actor)
            except (StoreUnavailable, StoreRefused) as error:
                log.warning("purge_waits", reason=error.detail)
                await asyncio.sleep(RETRY_EVERY)
            else:
                return

    async def _rested(self, work: Awaitable[Batch]) -> Batch:
        began = time.monotonic()
        batch = await work
        await asyncio.sleep(max(SHORTEST_REST, (time.monotonic() - began) * self._rest))
        return batch


class Retention:
    """Purges daily, where the settings say for how long to keep; one process at a time does.

    ``keep_texts_for`` and ``keep_for``: None is for ever.
    """

    def __init__(
        self,
        store: RetentionStore,
        *,
        keep_texts_for: timedelta | None,
        keep_for: timedelta | None,
    ) -> None:
        self._store = store
        self._purger = Purger(store)
        self._keep_texts_for = keep_texts_for
        self._keep_for = keep_for
        self._lease = uuid4()

    async def run(self) -> None:
        """Until cancelled."""
        if self._keep_texts_for is None and self._keep_for is None:
            return
        while True:
            try:
                await self.run_once()
            except (StoreUnavailable, StoreRefused) as error:
                log.warning("retention_waits", reason=error.detail)
            except Exception:
                log.exception("retention_failed")
            await asyncio.sleep(LOOK_EVERY)

    async def run_once(self) -> None:
        """Do what is due now, if no other process does."""
        if self._keep_texts_for is not None:
            every = DAILY if self._keep_texts_for >= DAILY else AT_ONCE
            before = self._store.now() - max(self._keep_texts_for, JUST_ANSWERED)
            await self._as_due(TEXTS, every, before, self._drop_texts)
        if self._keep_for is not None:
            before = self._store.now() - self._keep_for
            await self._as_due(RECORD, DAILY, before, self._purge)

    async def _as_due(
        self,
        name: str,
        every: timedelta,
        before: datetime,
        work: Callable[[datetime], Awaitable[None]],
    ) -> None:
        if await self._store.claim(name, lease=self._lease, every=every):
            await work(before)
            await self._store.finish(name, lease=self._lease)

    async def _drop_texts(self, before: datetime) -> None:
        if dropped := await self._purger.drop_texts(before, still=self._still(TEXTS)):
            log.info("texts_dropped", messages=dropped)

    async def _purge(self, before: datetime) -> None:
        counts = await self._purger.purge(before, actor=SERVICE, still=self._still(RECORD))
        log.info("record_purged", before=before.isoformat(), **_named(counts))

    def _still(self, name: str) -> Callable[[], Awaitable[bool]]:
        async def is_ours() -> bool:
            return await self._store.renew(name, lease=self._lease)

        return is_ours


def _without_cursor(purge: Callable[..., Awaitable[Batch]]) -> Callable[..., Awaitable[Batch]]:
    async def of_any(*, before: datetime, after: UUID, entry: Entry | None) -> Batch:  # noqa: ARG001  they have no cursor
        return await purge(before=before, entry=entry)

    return of_any


def _once(entry: Entry) -> Entry:
    return replace(entry, once=f"purge {entry.id}")


def _named(counts: Counts) -> Counts:
    return {name.replace(" ", "_"): count for name, count in counts.items()}
