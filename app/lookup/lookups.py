"""Queries for messages on behalf of a caller. Other apps' messages are not found.

``sees`` is the app whose messages the caller may see; None, for support and admins, is every app.
``texts``: whether the caller is shown what the messages say.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from uuid import UUID

from app.errors import NotFound, Unavailable
from app.lookup.history import describe, summary, unmatched
from app.lookup.responses import Message, MessageSummary, UnmatchedId
from app.lookup.waiters import StatusWaiters
from app.model.message import Record
from app.model.search import Search
from app.store.clock import Now, utc_now
from app.store.history import HistoryStore
from app.store.lists.store import ListStore, Page
from app.store.stats import Count, StatsStore
from app.store.unmatched import UnmatchedStore

BATCH_SIZE = 250
"""Messages that are read or serialised in one go; receipts wait for the event loop meanwhile."""


class Lookups:
    """All queries of the lookup journey. Each of them raises StoreUnavailable."""

    def __init__(
        self,
        *,
        history: HistoryStore,
        lists: ListStore,
        stats: StatsStore,
        unmatched: UnmatchedStore,
        waiters: StatusWaiters[UUID | str],
        overdue_after: timedelta,
        now: Now = utc_now,
    ) -> None:
        """``overdue_after``: the age from which a message without expiry counts as overdue."""
        self._history = history
        self._now = now
        self._lists = lists
        self._stats = stats
        self._unmatched = unmatched
        self._waiters = waiters
        self._overdue_after = overdue_after

    async def find(self, name: str, sees: str | None) -> Record:
        """The record of our id or an sms_activity_id. Raises NotFound, also for another app's."""
        record = await self._history.find(name)
        if record is None or not _is_visible(record, sees):
            raise NotFound("There is no message with this id")
        return record

    async def wait_for_change(
        self,
        record: Record,
        timeout: float,  # noqa: ASYNC109
        *,
        caller: str = "",
    ) -> None:
        """Return when the status has changed, or after ``timeout`` seconds; at once if final.

        Raises TooManyRequests where too many are waiting for this caller.
        """
        if record.final or not timeout:
            return
        key = record.message.id if record.message else record.sms_activity_id
        if key is not None:
            await self._waiters.wait_for_change(key, record.status, timeout, caller=caller)

    async def find_many(
        self, names: Sequence[str], sees: str | None
    ) -> tuple[list[Record], list[str]]:
        """The records of ids of either kind, each once, in order; and the ids not found."""
        records: dict[int, Record] = {}
        missing: dict[str, None] = {}
        for name, record in zip(names, await self._history.find_all(names), strict=True):
            if record is None or not _is_visible(record, sees):
                missing[name] = None
            else:
                records[id(record)] = record
        return list(records.values()), list(missing)

    async def page(self, search: Search, *, before: UUID | None, limit: int) -> Page:
        """The newest matches that are older than the message ``before``, without histories."""
        return await self._lists.page(search, before=before, limit=limit, now=self._now())

    async def statuses(self, search: Search, *, most: int) -> Counter[str] | None:
        """How many matches have each status; None where there are ``most`` or more."""
        return await self._lists.statuses(search, most=most, now=self._now())

    async def count(self, search: Search, *, most: int) -> int:
        """How many match; counted up to ``most``."""
        return await self._lists.count(search, most=most, now=self._now())

    async def export(
        self, search: Search, *, before: UUID | None, limit: int | None, texts: bool
    ) -> AsyncGenerator[list[MessageSummary]]:
        """All matches, or the first ``limit``, in batches. Raises Unavailable at shutdown."""
        every = self._lists.every(search, before=before, now=self._now(), at_a_time=BATCH_SIZE)
        async with aclosing(every):
            async for records in every:
                if self._waiters.is_closed:
                    raise Unavailable("The server shuts down, and the export is not complete")
                some = records if limit is None else records[:limit]
                yield self.summaries(some, texts=texts)
                if limit is not None:
                    limit -= len(some)
                    if limit <= 0:
                        return

    async def unmatched(self, *, before: str | None, limit: int) -> list[UnmatchedId] | None:
        """A page of the ids known from receipts alone; None if ``before`` is none of them."""
        found = await self._unmatched.page(before=before, limit=limit)
        return None if found is None else [unmatched(one) for one in found]

    async def counts(
        self, *, app: str | None, start: datetime, end: datetime, by: str
    ) -> Sequence[Count]:
        """Counts of the messages that were created from ``start`` on and before ``end``."""
        return await self._stats.counts(app=app, start=start, end=end, by=by)

    def description(self, record: Record, *, texts: bool) -> Message:
        """The response for a record, with its history."""
        return describe(record, now=self._now(), overdue_after=self._overdue_after, texts=texts)

    async def descriptions(self, records: Sequence[Record], *, texts: bool) -> list[Message]:
        """The responses for many records, with pauses for the event loop."""
        described = []
        for place, record in enumerate(records, start=1):
            described.append(self.description(record, texts=texts))
            if place % BATCH_SIZE == 0:
                await asyncio.sleep(0)
        return described

    def summaries(self, records: Iterable[Record], *, texts: bool) -> list[MessageSummary]:
        """The entries of lists for records."""
        now, overdue_after = self._now(), self._overdue_after
        return [
            summary(record, now=now, overdue_after=overdue_after, texts=texts) for record in records
        ]


def _is_visible(record: Record, sees: str | None) -> bool:
    return sees is None or (record.message is not None and record.message.app == sees)
