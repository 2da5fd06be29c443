"""Retention: drops old texts and purges old rows, in batches of one short transaction each.

Nothing is partitioned by time: a receipt is recognised by a unique index without a time, which a
partitioned table cannot have. Ids are of version 7, so the primary key finds what is old, and a
batch costs the same however large the table is (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Table, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.audit import Entry
from app.model.search import id_lower_bound
from app.model.status import Status
from app.model.webhook import DeliveryState
from app.store.any_of import any_of
from app.store.audit import append
from app.store.engine import Database
from app.store.erasing.store import LATE
from app.store.evidence.removals import record_purge, record_texts_purge
from app.store.outbox.attempts import drop_responses
from app.store.purging import delete_any, delete_messages
from app.store.tables import (
    audit,
    deliveries,
    erased,
    events,
    messages,
    receipts,
    rejected_receipts,
    retention,
    retention_waiting,
    webhook_deliveries,
)
from app.store.upsert import upsert

TEXTS, RECORD, EVENTS = "texts", "record", "events"
"""Names of rows of `retention`: the two tasks, and how far the log of events is deleted."""
BATCH = 100
"""Messages in a batch, which takes a few milliseconds. Smaller batches cost more in all; larger
ones hold up receipts, which on SQLite wait for the whole batch."""
EVENTS_TO_A_MESSAGE = 5
"""Events in a batch for each message: deleting them costs about as much, as no rows depend on them.
"""
PATIENCE = 30.0
"""Seconds for a batch, which takes milliseconds."""
LEASE = timedelta(minutes=1)
OVERLAP = timedelta(minutes=10)
"""Ids that are read again in the next run: a message may be committed some time after its id was
made."""
GONE = ""
"""A text that is no longer kept; no message is sent without one."""

_WAITING = (Status.QUEUED, Status.SENDING)


@dataclass(frozen=True, slots=True)
class Batch:
    """The result of a batch. ``after`` is the id behind which the next one begins, or any id where
    each begins anew; None: that was the last.
    """

    changed: int
    after: UUID | None = None
    receipts: int = 0


class RetentionStore:
    """One process at a time holds the lease on a task; concurrent batches are safe as well.

    Each method raises StoreUnavailable. ``entry`` is the audit's, appended if anything was deleted.
    """

    def __init__(self, database: Database, *, batch_size: int = BATCH) -> None:
        self._database = database
        self._batch_size = batch_size
        self.now = database.clock.now

    async def claim(self, name: str, *, lease: UUID, every: timedelta) -> bool:
        """Take the lease on the task; False if it is not due, or another process has the lease."""
        now = self.now()
        column = retention.c
        free = or_(column.lease.is_(None), column.lease == lease, column.lease_until < now)
        due = or_(column.done_at.is_(None), column.done_at < now - every)
        async with self._database.write(patience=PATIENCE) as connection:
            await connection.execute(
                upsert(connection, retention).on_conflict_do_nothing().values(name=name)
            )
            taken = (
                update(retention)
                .where(column.name == name, free, due)
                .values(lease=lease, lease_until=now + LEASE)
            )
            return (await connection.execute(taken)).rowcount > 0

    async def renew(self, name: str, *, lease: UUID) -> bool:
        """Keep the lease; False if another process has it by now."""
        values = {"lease_until": self.now() + LEASE}
        return await self._update_task(name, lease, values)

    async def finish(self, name: str, *, lease: UUID) -> None:
        """Note that the task is done, and give the lease back."""
        await self._update_task(name, lease, {"lease": None, "done_at": self.now()})

    async def texts_begin(self) -> UUID:
        """The id behind which ``drop_texts`` begins."""
        query = select(retention.c.position).where(retention.c.name == TEXTS)
        async with self._database.read(patience=PATIENCE) as connection:
            position: UUID | None = (await connection.execute(query)).scalar_one_or_none()
        if position is None:
            return UUID(int=0)
        overlap = int(OVERLAP.total_seconds() * 1000)
        return UUID(int=max(0, (position.int >> 80) - overlap) << 80)

    async def drop_texts(self, *, before: datetime, after: UUID) -> Batch:
        """Drop the texts of messages that are older, are not waiting to be sent, and have not
        changed their state since then. Others are remembered for ``drop_waiting_texts``.
        """
        size = self._batch_size
        async with self._database.write(patience=PATIENCE) as connection:
            rows = await _older(connection, before=before, after=after, limit=size)
            ripe = [row.id for row in rows if _is_ripe(row, before)]
            changed = await self._drop(connection, ripe)
            if changed:
                await record_texts_purge(connection, ripe, before)
            left = [{"id": row.id} for row in rows if not _is_ripe(row, before)]
            if left:
                await connection.execute(
                    upsert(connection, retention_waiting).on_conflict_do_nothing(), left
                )
            if rows:
                await connection.execute(
                    update(retention).where(retention.c.name == TEXTS).values(position=rows[-1].id)
                )
        return Batch(changed, rows[-1].id if len(rows) == size else None)

    async def drop_waiting_texts(self, *, before: datetime, after: UUID) -> Batch:
        """The same for messages that ``drop_texts`` remembered."""
        size = self._batch_size
        column = messages.c
        query = (
            select(retention_waiting.c.id, column.state, column.state_at)
            .join_from(
                retention_waiting, messages, retention_waiting.c.id == column.id, isouter=True
            )
            .where(retention_waiting.c.id > after)
            .order_by(retention_waiting.c.id)
            .limit(size)
        )
        async with self._database.write(patience=PATIENCE) as connection:
            rows = (await connection.execute(query)).all()
            ripe = [row.id for row in rows if row.state is None or _is_ripe(row, before)]
            changed = await self._drop(connection, ripe)
            if changed:
                await record_texts_purge(connection, ripe, before)
            if ripe:
                await delete_any(connection, retention_waiting.c.id, ripe)
        return Batch(changed, rows[-1].id if len(rows) == size else None)

    async def purge_messages(
        self, *, before: datetime, after: UUID, entry: Entry | None = None
    ) -> Batch:
        """Delete messages that have not changed their state since then, with their receipts and
        webhook deliveries. Messages that wait to be sent stay.
        """
        size = self._batch_size
        async with self._database.write(patience=PATIENCE) as connection:
            rows = await _older(connection, before=before, after=after, limit=size)
            ripe = [row for row in rows if _is_ripe(row, before)]
            gone = await delete_messages(connection, ripe) if ripe else 0
            if ripe:
                names = [row.sms_activity_id for row in ripe if row.sms_activity_id is not None]
                ids = [row.id for row in ripe]
                await record_purge(connection, before, messages=ids, sms_activity_ids=names)
            await append(connection, [entry] if ripe else [])
        return Batch(len(ripe), rows[-1].id if len(rows) == size else None, gone)

    async def purge_unmatched(self, *, before: datetime, entry: Entry | None = None) -> Batch:
        """Delete unmatched ids with their receipts, by the arrival of the first one."""
        column = deliveries.c
        place = (column.received_at, column.sms_activity_id)
        unmatched = (column.message_id.is_(None), column.received_at.is_not(None))
        query = (
            select(column.sms_activity_id)
            .where(*unmatched, column.received_at < before)
            .order_by(*place)
            .limit(self._batch_size)
        )
        async with self._database.write(patience=PATIENCE) as connection:
            found = (await connection.execute(query)).scalars().all()
            still = await self._lock(connection, deliveries, column.sms_activity_id, found)
            names = [row.sms_activity_id for row in still if row.message_id is None]
            gone = await delete_any(connection, receipts.c.sms_activity_id, names)
            await delete_any(connection, column.sms_activity_id, names)
            await record_purge(connection, before, sms_activity_ids=names)
            await append(connection, [entry] if names else [])
        return Batch(len(names), UUID(int=0) if len(found) == self._batch_size else None, gone)

    async def purge_events(self, *, before: datetime, entry: Entry | None = None) -> Batch:
        """Delete events, oldest first, and note how far."""
        size = EVENTS_TO_A_MESSAGE * self._batch_size
        async with self._database.write(patience=PATIENCE) as connection:
            await connection.execute(
                upsert(connection, retention).on_conflict_do_nothing().values(name=EVENTS)
            )
            this = retention.c.name == EVENTS
            last = (await connection.execute(select(retention.c.number).where(this))).scalar_one()
            rows = await connection.execute(
                select(events.c.id, events.c.recorded_at)
                .where(events.c.id > (last or 0))
                .order_by(events.c.id)
                .limit(size)
            )
            old = []
            for row in rows:
                if row.recorded_at >= before:
                    break  # numbers, and so times, are in commit order
                old.append(row.id)
            if old:
                await connection.execute(delete(events).where(events.c.id <= old[-1]))
                await connection.execute(update(retention).where(this).values(number=old[-1]))
            await append(connection, [entry] if old else [])
        return Batch(len(old), UUID(int=0) if len(old) == size else None)

    async def purge_rejected(self, *, before: datetime, entry: Entry | None = None) -> Batch:
        """Delete rejected calls."""
        column = rejected_receipts.c
        return await self._purge(rejected_receipts, column.received_at < before, entry)

    async def purge_webhook_deliveries(
        self, *, before: datetime, entry: Entry | None = None
    ) -> Batch:
        """Delete ended deliveries to webhooks."""
        column = webhook_deliveries.c
        ended = column.state != DeliveryState.PENDING
        old = column.id < id_lower_bound(before)
        return await self._purge(webhook_deliveries, ended & old, entry)

    async def purge_audit(self, *, before: datetime, entry: Entry | None = None) -> Batch:
        """Delete entries of the audit."""
        column = audit.c
        some = select(column.id).where(column.at < before).limit(self._batch_size)
        async with self._database.write(patience=PATIENCE) as connection:
            gone = delete(audit).where(column.id.in_(some)).returning(column.id)
            ids = (await connection.execute(gone)).scalars().all()
            await record_purge(connection, before, entries=ids)
            await append(connection, [entry] if ids else [])
        return Batch(len(ids), UUID(int=0) if len(ids) == self._batch_size else None)

    async def purge_erased(self, *, before: datetime, entry: Entry | None = None) -> Batch:
        """Delete the ids noted by erasures, once no receipt of theirs is expected any more."""
        before = min(before, self.now() - LATE)
        return await self._purge(erased, erased.c.erased_at < before, entry)

    async def count(self, before: datetime) -> dict[str, int]:
        """How many rows of each kind a purge would delete now."""
        column, below = messages.c, id_lower_bound(before)
        unmatched = deliveries.c.message_id.is_(None) & (deliveries.c.received_at < before)
        ripe = column.state.not_in(_WAITING) & (column.state_at < before)
        queries = {
            "messages": select(func.count()).where(column.id < below, ripe),
            "unmatched ids": select(func.count()).select_from(deliveries).where(unmatched),
            "rejected calls": select(func.count()).where(rejected_receipts.c.received_at < before),
            "events": select(func.count()).where(events.c.recorded_at < before),
            "audit entries": select(func.count()).where(audit.c.at < before),
            "notes of what was erased": select(func.count()).where(
                erased.c.erased_at < min(before, self.now() - LATE)
            ),
        }
        async with self._database.read() as connection:
            return {
                name: (await connection.execute(query)).scalar_one()
                for name, query in queries.items()
            }

    async def _purge(self, table: Table, old: ColumnElement[bool], entry: Entry | None) -> Batch:
        some = select(table.c.id).where(old).limit(self._batch_size)
        async with self._database.write(patience=PATIENCE) as connection:
            gone = await connection.execute(delete(table).where(table.c.id.in_(some)))
            count = gone.rowcount
            await append(connection, [entry] if count else [])
        return Batch(count, UUID(int=0) if count == self._batch_size else None)

    async def _update_task(self, name: str, lease: UUID, values: dict[str, Any]) -> bool:
        """Update a task's row under the lease; False if that was lost."""
        mine = (retention.c.name == name) & (retention.c.lease == lease)
        async with self._database.write(patience=PATIENCE) as connection:
            return (
                await connection.execute(update(retention).where(mine).values(values))
            ).rowcount > 0

    async def _drop(self, connection: AsyncConnection, ids: Sequence[UUID]) -> int:
        if not ids:
            return 0
        still = any_of(messages.c.id, "ids", is_sqlite=self._database.is_sqlite)
        statement = update(messages).where(still, messages.c.message != GONE).values(message=GONE)
        dropped = (await connection.execute(statement, {"ids": list(ids)})).rowcount
        if dropped:
            await drop_responses(connection, ids)
        return dropped

    async def _lock(
        self, connection: AsyncConnection, table: Table, column: ColumnElement[Any], values: Any
    ) -> Sequence[Any]:
        """Lock rows in the order of their keys, so that two transactions never deadlock."""
        if not values:
            return []
        these = any_of(column, "values", is_sqlite=self._database.is_sqlite)
        keys = [*table.primary_key.columns]
        shown = [*keys, *([table.c.message_id] if table is deliveries else [])]
        query = select(*shown).where(these).order_by(*keys).with_for_update()
        return (await connection.execute(query, {"values": list(values)})).all()


async def _older(
    connection: AsyncConnection, *, before: datetime, after: UUID, limit: int
) -> Sequence[Any]:
    """Messages made before then, oldest first."""
    column = messages.c
    query = (
        select(column.id, column.state, column.state_at, column.sms_activity_id)
        .where(column.id > after, column.id < id_lower_bound(before))
        .order_by(column.id)
        .limit(limit)
    )
    return (await connection.execute(query)).all()


def _is_ripe(row: Any, before: datetime) -> bool:
    return row.state not in _WAITING and row.state_at < before
