"""Lookups of messages by id: status, history and receipts.

Concurrent lookups share one statement (docs/performance.md); a lone one runs at once. A
lookup never joins a statement that has begun, so it sees all that was committed before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, union_all

from app.errors import StoreUnavailable
from app.model.activity_id import one_spelling
from app.model.message import Record
from app.parts.batcher import Batcher, BatcherClosed, BatcherFull
from app.store.any_of import any_of, chunks, storable
from app.store.compiled import Compiled
from app.store.engine import Database
from app.store.records import JOINED, of_messages, of_receipts_alone, record_of
from app.store.tables import deliveries, messages

LARGEST_BATCH = 100
CAPACITY = 5_000
PATIENCE = 10.0
"""Seconds for the database to answer; after that a caller is answered 503."""
AT_ONCE = 2
"""Concurrent statements for single lookups, each of which holds a pooled connection."""
_OURS = 7
"""The UUID version of our ids; iovox's, as documented, are of version 1."""


class HistoryStore:
    """Reads only. A record is None if there is none with the id."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lookups: Batcher[str, Record | None] = Batcher(
            self.find_all, largest=LARGEST_BATCH, capacity=CAPACITY, writers=AT_ONCE
        )
        self._by_both = self._statement(ids=True, sids=True)
        self._by_ids = self._statement(ids=True, sids=False)
        self._by_sids = self._statement(ids=False, sids=True)

    async def find(self, name: str) -> Record | None:
        """The record with this id, ours or iovox's. Raises StoreUnavailable."""
        try:
            return await self._lookups.submit(name)
        except (BatcherFull, BatcherClosed):
            raise StoreUnavailable("Too many lookups wait, or we shut down") from None

    async def find_all(self, names: Sequence[str]) -> list[Record | None]:
        """The records with these ids, in their order. Our own ids are tried first."""
        names = [one_spelling(name) for name in names]
        ids = {name: one for name in names if (one := _uuid(name))}
        others = {name for name in names if name not in ids or ids[name].version != _OURS}
        found = await self._read(set(ids.values()), others)
        records: dict[str, Record | None] = {
            name: found.get(ids.get(name)) or found.get(name) for name in names
        }
        # An id in the form of ours can still be iovox's: that takes a second statement.
        if left := {name for name in ids if records[name] is None} - others:
            second = await self._read(set(), left)
            records |= {name: second.get(name) for name in left}
        return [records.get(name) for name in names]

    async def statuses(self, records: Collection[UUID | str]) -> dict[UUID | str, str]:
        """The current statuses of messages, and of sms_activity_ids without a message."""
        is_sqlite = self._database.is_sqlite
        status = func.coalesce(deliveries.c.status, messages.c.state)
        of_ours = select(messages.c.id, status).select_from(JOINED)
        of_ours = of_ours.where(any_of(messages.c.id, "names", is_sqlite=is_sqlite))
        of_others = select(deliveries.c.sms_activity_id, deliveries.c.status)
        of_others = of_others.where(
            any_of(deliveries.c.sms_activity_id, "names", is_sqlite=is_sqlite)
        )
        found: dict[UUID | str, str] = {}
        for query, kind in ((of_ours, UUID), (of_others, str)):
            names = [name for name in records if isinstance(name, kind)]
            for chunk in chunks(names, 1_000):
                async with self._database.read() as connection:
                    rows = await connection.execute(query, {"names": list(chunk)})
                    found |= {row[0]: row[1] for row in rows}
        return found

    def _statement(self, *, ids: bool, sids: bool) -> Compiled:
        is_sqlite = self._database.is_sqlite
        ours = of_messages(history=True, is_sqlite=is_sqlite)
        arms = []
        if ids:
            arms.append(ours.where(any_of(messages.c.id, "ids", is_sqlite=is_sqlite)))
        if sids:
            arms.append(ours.where(any_of(messages.c.sms_activity_id, "sids", is_sqlite=is_sqlite)))
            alone = of_receipts_alone(is_sqlite=is_sqlite)
            arms.append(
                alone.where(any_of(deliveries.c.sms_activity_id, "sids", is_sqlite=is_sqlite))
            )
        return Compiled(self._database, union_all(*arms) if len(arms) > 1 else arms[0])

    async def _read(
        self, ids: Iterable[UUID], names: Iterable[str]
    ) -> dict[UUID | str | None, Record]:
        """Records, each by our id and by iovox's."""
        wanted: dict[str, Sequence[Any]] = {
            "ids": list(ids),
            "sids": [name for name in names if storable(name)],
        }
        given = {name: values for name, values in wanted.items() if values}
        if not given:
            return {}
        query = (
            self._by_both if len(given) > 1 else self._by_ids if "ids" in given else self._by_sids
        )
        rows = await query.rows(given, patience=PATIENCE)
        found: dict[UUID | str | None, Record] = {}
        for row in rows:
            record = record_of(row)
            if record.message is not None:
                found[record.message.id] = record
            found[record.sms_activity_id] = record
        found.pop(None, None)
        return found


def _uuid(name: str) -> UUID | None:
    """Our ids are UUIDs in canonical form; anything else may be iovox's."""
    try:
        found = UUID(name)
    except ValueError:
        return None
    return found if str(found) == name.lower() else None
