"""What became of messages, for one caller: another app's messages do not exist to it.

``sees`` is the one app whose messages a caller may see, or None for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.errors import NotFound, Unavailable
from app.lookup.history import describe, summary
from app.lookup.responses import Message, MessageSummary
from app.lookup.waiting import WaitingRoom
from app.model.message import Record
from app.model.search import Search
from app.store.history import HistoryStore
from app.store.lists.store import ListStore, Page
from app.store.stats import Count, StatsStore

AT_A_TIME = 250
"""Messages that are read, or made into text, without a pause: receipts are waiting meanwhile."""


class Lookups:
    """Everything that can be asked. All of it raises StoreUnavailable."""

    def __init__(
        self,
        *,
        history: HistoryStore,
        lists: ListStore,
        stats: StatsStore,
        room: WaitingRoom[UUID | str],
        patience: timedelta,
    ) -> None:
        """``patience``: when a message without expiry counts as overdue."""
        self._history = history
        self._lists = lists
        self._stats = stats
        self._room = room
        self._patience = patience

    async def find(self, name: str, sees: str | None) -> Record:
        """The record that this id of either kind names. Raises NotFound, also for another app's."""
        record = await self._history.find(name)
        if record is None or not _is_visible(record, sees):
            raise NotFound("There is no message with this id")
        return record

    async def changed(self, record: Record, seconds: float) -> None:
        """Return when its status is another one, or after so many seconds; at once if final."""
        if record.final or not seconds:
            return
        key = record.message.id if record.message else record.sms_activity_id
        if key is not None:
            await self._room.until_changed(key, record.status, seconds)

    async def find_many(
        self, names: Sequence[str], sees: str | None
    ) -> tuple[list[Record], list[str]]:
        """Each message once, where it is first named, and the names that name none."""
        records: dict[int, Record] = {}
        missing: dict[str, None] = {}
        for name, record in zip(names, await self._history.find_all(names), strict=True):
            if record is None or not _is_visible(record, sees):
                missing[name] = None
            else:
                records[id(record)] = record
        return list(records.values()), list(missing)

    async def page(self, search: Search, *, before: UUID | None, limit: int) -> Page:
        """The newest of them that are older than ``before``, without histories."""
        return await self._lists.page(search, before=before, limit=limit, now=datetime.now(UTC))

    async def export(
        self, search: Search, *, before: UUID | None, limit: int | None
    ) -> AsyncGenerator[list[MessageSummary]]:
        """All of them, or the first ``limit``, some at a time. Raises Unavailable at shutdown."""
        every = self._lists.every(search, before=before, now=datetime.now(UTC), at_a_time=AT_A_TIME)
        async with aclosing(every):
            async for records in every:
                if self._room.is_closed:
                    raise Unavailable("The server shuts down, and the export is not complete")
                some = records if limit is None else records[:limit]
                yield self.summaries(some)
                if limit is not None:
                    limit -= len(some)
                    if limit <= 0:
                        return

    async def counts(
        self, *, app: str | None, start: datetime, end: datetime, by: str
    ) -> Sequence[Count]:
        """Counts of what was created in a range of time."""
        return await self._stats.counts(app=app, start=start, end=end, by=by)

    def description(self, record: Record) -> Message:
        """A record as it is answered, with its history."""
        return describe(record, now=datetime.now(UTC), patience=self._patience)

    async def descriptions(self, records: Sequence[Record]) -> list[Message]:
        """The same of many, with pauses."""
        described = []
        for place, record in enumerate(records, start=1):
            described.append(self.description(record))
            if place % AT_A_TIME == 0:
                await asyncio.sleep(0)
        return described

    def summaries(self, records: Iterable[Record]) -> list[MessageSummary]:
        """Records as lists show them."""
        now = datetime.now(UTC)
        return [summary(record, now=now, patience=self._patience) for record in records]


def _is_visible(record: Record, sees: str | None) -> bool:
    return sees is None or (record.message is not None and record.message.app == sees)
