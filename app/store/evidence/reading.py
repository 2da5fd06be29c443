"""Reads the evidence log, and what it is compared with; adds stamps and co-signatures to it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, func, select, tuple_, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.engine import Database
from app.store.evidence.rows import (
    DELIVERY,
    ENTRY,
    LOG,
    MESSAGE,
    POSITION,
    STORED_RECEIPT,
    CheckpointRow,
    DeliveryRow,
    EntryRow,
    FactRow,
    LogRow,
    MessageRow,
    PendingFact,
    Place,
    StoredReceipt,
    message_row,
    parse_pending_fact,
)
from app.store.tables import (
    audit,
    deliveries,
    events,
    evidence_checkpoints,
    evidence_facts,
    evidence_logs,
    evidence_pending,
    evidence_tiles,
    messages,
    receipts,
)

PATIENCE = 10.0
"""Seconds for the database to answer."""

_FACT = (
    evidence_facts.c.log,
    evidence_facts.c.idx,
    evidence_facts.c.subject,
    evidence_facts.c.number,
    evidence_facts.c.hash,
    evidence_facts.c.fact,
    evidence_facts.c.salts,
    evidence_facts.c.steps,
    evidence_facts.c.attached,
)


# Null, so true of no event, where no log is open.
_IS_UNREAD = (
    events.c.id > select(POSITION).where(evidence_logs.c.ended_at.is_(None)).scalar_subquery()
)


def _newest() -> Select[Any]:
    """The newest log, and the columns of its newest checkpoint or nulls."""
    checkpoint, each = evidence_checkpoints.c, evidence_checkpoints.alias().c
    greatest = select(func.max(each.size)).where(each.log == evidence_logs.c.id)
    is_newest = and_(
        checkpoint.log == evidence_logs.c.id, checkpoint.size == greatest.scalar_subquery()
    )
    both = select(*LOG, *checkpoint).select_from(evidence_logs)
    both = both.outerjoin(evidence_checkpoints, is_newest)
    return both.order_by(evidence_logs.c.id.desc()).limit(1)


def _lag() -> Select[Any]:
    """One row: the time of the oldest event that was not read, the time of the oldest receipt in
    the queue, and the id of any row of the queue. Enqueued facts have no time, nor has a receipt
    that was purged since.
    """
    event = select(events.c.recorded_at).where(_IS_UNREAD).order_by(events.c.id).limit(1)
    first = select(evidence_pending.c.sms_activity_id, evidence_pending.c.digest)
    first = first.where(evidence_pending.c.digest.is_not(None))
    oldest = first.order_by(evidence_pending.c.id).limit(1).subquery()
    receipt = select(receipts.c.received_at).join(
        oldest,
        (receipts.c.sms_activity_id == oldest.c.sms_activity_id)
        & (receipts.c.digest == oldest.c.digest),
    )
    any_row = select(evidence_pending.c.id).limit(1)
    return select(*(part.scalar_subquery() for part in (event, receipt, any_row)))


# Executed every second, so they are built once.
_NEWEST, _LAG = _newest(), _lag()


class EvidenceReader:
    """Logs, checkpoints, tiles and facts. Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def logs(self) -> list[LogRow]:
        """Every log, oldest first."""
        rows = await self._rows(select(*LOG).order_by(evidence_logs.c.id))
        return [LogRow(*row) for row in rows]

    async def newest(self) -> tuple[LogRow | None, CheckpointRow | None]:
        """The newest log and its newest checkpoint."""
        rows = await self._rows(_NEWEST)
        if not rows:
            return None, None
        log, found = rows[0][: len(LOG)], rows[0][len(LOG) :]
        return LogRow(*log), CheckpointRow(*found) if found[0] is not None else None

    async def lag(self) -> tuple[bool, datetime | None]:
        """Whether anything is to be appended, and the time of the oldest of it that has a time."""
        event, receipt, id_ = (await self._rows(_LAG))[0]
        times = [at for at in (event, receipt) if at is not None]
        return bool(times) or id_ is not None, min(times, default=None)

    async def checkpoints(
        self, *, log: int | None = None, after: tuple[int, int] = (0, -1), limit: int
    ) -> list[CheckpointRow]:
        """Checkpoints in the order of (log, size), from behind ``after`` on."""
        place = tuple_(evidence_checkpoints.c.log, evidence_checkpoints.c.size)
        query = select(*evidence_checkpoints.c).where(place > tuple_(*after))
        if log is not None:
            query = query.where(evidence_checkpoints.c.log == log)
        query = query.order_by(evidence_checkpoints.c.log, evidence_checkpoints.c.size)
        return [CheckpointRow(*row) for row in await self._rows(query.limit(limit))]

    async def newest_checkpoint(self, log: int) -> CheckpointRow | None:
        """The greatest checkpoint of a log."""
        query = select(*evidence_checkpoints.c).where(evidence_checkpoints.c.log == log)
        query = query.order_by(evidence_checkpoints.c.size.desc()).limit(1)
        rows = await self._rows(query)
        return CheckpointRow(*rows[0]) if rows else None

    async def vouched_for(self, log: int, size: int) -> CheckpointRow | None:
        """The smallest checkpoint of at least a size that has a time stamp; else the smallest that
        has a co-signature; else None.
        """
        column = evidence_checkpoints.c
        these = (column.log == log, column.size >= size)
        for which in (column.stamp, column.cosigned_at):
            query = select(*column).where(*these, which.is_not(None)).order_by(column.size)
            rows = await self._rows(query.limit(1))
            if rows:
                return CheckpointRow(*rows[0])
        return None

    async def checkpoint_at(self, origin: str, size: int) -> CheckpointRow | None:
        """The checkpoint of an origin at this size."""
        query = (
            select(*evidence_checkpoints.c)
            .join(evidence_logs, evidence_logs.c.id == evidence_checkpoints.c.log)
            .where(evidence_logs.c.origin == origin, evidence_checkpoints.c.size == size)
        )
        rows = await self._rows(query)
        return CheckpointRow(*rows[0]) if rows else None

    async def cosign(self, checkpoint: CheckpointRow, note: str, at: datetime) -> bool:
        """Replace a checkpoint's note by one with further lines. False if its note has changed
        since ``checkpoint`` was read (optimistic locking).
        """
        column = evidence_checkpoints.c
        this = (column.log == checkpoint.log) & (column.size == checkpoint.size)
        first = func.coalesce(column.cosigned_at, at)
        changed = update(evidence_checkpoints).where(this, column.note == checkpoint.note)
        async with self._database.write(patience=PATIENCE) as connection:
            done = await connection.execute(changed.values(note=note, cosigned_at=first))
        return done.rowcount == 1

    async def stamp(self, checkpoint: CheckpointRow, token: bytes, at: datetime) -> None:
        """Store the time stamp of a checkpoint."""
        async with self._database.write(patience=PATIENCE) as connection:
            await connection.execute(
                update(evidence_checkpoints)
                .where(
                    evidence_checkpoints.c.log == checkpoint.log,
                    evidence_checkpoints.c.size == checkpoint.size,
                )
                .values(stamp=token, stamped_at=at)
            )

    async def tiles(self, log: int, places: Collection[Place]) -> dict[Place, bytes]:
        """The tiles at these places; places without one are left out."""
        async with self._database.read(patience=PATIENCE) as connection:
            return await read_tiles(connection, log, places)

    async def facts(self, subjects: Sequence[bytes]) -> list[FactRow]:
        """The facts of these chains, each in the order of its numbers."""
        query = select(*_FACT).where(evidence_facts.c.subject.in_(subjects))
        query = query.order_by(evidence_facts.c.subject, evidence_facts.c.number)
        return [FactRow(*row) for row in await self._rows(query)]

    async def facts_from(self, log: int, index: int, limit: int) -> list[FactRow]:
        """The facts of a log from an index on."""
        query = select(*_FACT).where(evidence_facts.c.log == log, evidence_facts.c.idx >= index)
        return [
            FactRow(*row)
            for row in await self._rows(query.order_by(evidence_facts.c.idx).limit(limit))
        ]

    async def messages(self, ids: Collection[UUID]) -> dict[UUID, MessageRow]:
        """The messages with these ids that exist."""
        rows = await self._rows(select(*MESSAGE).where(messages.c.id.in_(ids))) if ids else []
        return {row.id: message_row(row) for row in rows}

    async def receipts(self, sms_activity_ids: Collection[str]) -> list[StoredReceipt]:
        """All receipts of these ids."""
        if not sms_activity_ids:
            return []
        these = receipts.c.sms_activity_id.in_(sms_activity_ids)
        rows = await self._rows(select(*STORED_RECEIPT).where(these))
        return [StoredReceipt(*row) for row in rows]

    async def entries(self, ids: Collection[UUID]) -> dict[UUID, EntryRow]:
        """The entries of the audit with these ids that exist."""
        rows = await self._rows(select(*ENTRY).where(audit.c.id.in_(ids))) if ids else []
        return {row.id: EntryRow(*row) for row in rows}

    async def entries_after(self, last: UUID, limit: int) -> list[tuple[UUID, datetime]]:
        """A page of the audit's entries (id, time) by id, behind ``last``."""
        query = select(audit.c.id, audit.c.at).where(audit.c.id > last).order_by(audit.c.id)
        return [(row.id, row.at) for row in await self._rows(query.limit(limit))]

    async def deliveries_after(
        self, last: str, limit: int
    ) -> list[tuple[DeliveryRow, list[tuple[str, datetime]]]]:
        """A page of deliveries by key, behind ``last``, each with (status, time) of its receipts.
        By one statement, so that both are of one snapshot.
        """
        column = deliveries.c
        page = select(column.sms_activity_id).where(column.sms_activity_id > last)
        page = page.order_by(column.sms_activity_id).limit(limit)
        query = (
            select(*DELIVERY, receipts.c.status.label("said"), receipts.c.at.label("said_at"))
            .select_from(deliveries)
            .outerjoin(messages, messages.c.id == column.message_id)
            .outerjoin(receipts, receipts.c.sms_activity_id == column.sms_activity_id)
            .where(column.sms_activity_id.in_(page))
            .order_by(column.sms_activity_id)
        )
        found: dict[str, tuple[DeliveryRow, list[tuple[str, datetime]]]] = {}
        for row in await self._rows(query):
            *of_delivery, said, at = row
            delivery = DeliveryRow(*of_delivery)
            _, theirs = found.setdefault(delivery.sms_activity_id, (delivery, []))
            if said is not None:
                theirs.append((said, at))
        return list(found.values())

    async def receipts_after(self, last: tuple[str, bytes], limit: int) -> list[Any]:
        """A page of receipts by key, behind ``last``: sms_activity_id, digest, id, received_at."""
        key = tuple_(receipts.c.sms_activity_id, receipts.c.digest)
        query = select(
            receipts.c.sms_activity_id, receipts.c.digest, receipts.c.id, receipts.c.received_at
        ).where(key > tuple_(*last))
        query = query.order_by(receipts.c.sms_activity_id, receipts.c.digest)
        return list(await self._rows(query.limit(limit)))

    async def with_pending_receipts(self, sms_activity_ids: Collection[str]) -> set[str]:
        """Those of the ids that have receipts which are to be appended yet."""
        pending = select(evidence_pending.c.sms_activity_id)
        pending = pending.where(evidence_pending.c.sms_activity_id.in_(sms_activity_ids))
        named = select(events.c.sms_activity_id).where(
            _IS_UNREAD, events.c.digest.is_not(None), events.c.sms_activity_id.in_(sms_activity_ids)
        )
        return {row[0] for row in await self._rows(union_all(pending, named))}

    async def pending_facts(self) -> list[PendingFact]:
        """The enqueued facts: of anything but receipts."""
        query = select(evidence_pending.c.fact).where(evidence_pending.c.fact.is_not(None))
        return [parse_pending_fact(row[0]) for row in await self._rows(query)]

    async def _rows(self, query: Any) -> Sequence[Any]:
        async with self._database.read(patience=PATIENCE) as connection:
            return (await connection.execute(query)).all()


async def read_tiles(
    connection: AsyncConnection, log: int, places: Collection[Place]
) -> dict[Place, bytes]:
    """The tiles at these places; places without one are left out."""
    if not places:
        return {}
    place = tuple_(evidence_tiles.c.level, evidence_tiles.c.idx)
    query = select(evidence_tiles.c.level, evidence_tiles.c.idx, evidence_tiles.c.hashes).where(
        evidence_tiles.c.log == log, place.in_(list(places))
    )
    return {(row[0], row[1]): row[2] for row in await connection.execute(query)}
