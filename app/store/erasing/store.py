"""Erasures in the database: requested, carried out by batches, confirmed by disks, completed.

Messages are found by the number as their destination. A test classifies every text column of the
tables, and fails for a new one until that is done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, insert, or_, select, text, update

from app.model.audit import Entry
from app.model.erasure import KINDS, Disk, Erasure
from app.model.mentions import Mentions
from app.model.message import Message
from app.model.status import Status
from app.store.audit import append
from app.store.engine import Database
from app.store.erasing.disks import unregistered
from app.store.erasing.elsewhere import erase_other_texts, erase_rejected, erase_unmatched
from app.store.erasing.places import count, erase_all, locked, to_number
from app.store.evidence.salts import delete_salts
from app.store.lists.store import APPS
from app.store.message_rows import message_of
from app.store.tables import (
    audit,
    console_sign_ins,
    disks,
    erased,
    erasure_confirmations,
    erasures,
    idempotency_keys,
    messages,
    receipts,
    rejected_receipts,
    webhook_deliveries,
)

PATIENCE = 30.0
"""Seconds for a transaction."""
BATCH = 200
"""Messages that are erased in one transaction."""
LEASE = timedelta(minutes=2)
LATE = timedelta(days=7)
"""How long after an erasure bodies of late receipts are still dropped: of receipts that were being
stored meanwhile, and of those that first name an erased message."""

_ANALYZED = (
    *(messages, receipts, rejected_receipts, webhook_deliveries, idempotency_keys),
    *(audit, console_sign_ins, erasures),
)
"""The tables whose statistics may hold values that were erased."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Messages to a number that may still become texts."""

    all: Sequence[Message]

    @property
    def queued(self) -> list[Message]:
        """Those that can be cancelled."""
        return [one for one in self.all if one.state is Status.QUEUED]

    @property
    def sending(self) -> int:
        """How many are being submitted to iovox now."""
        return len(self.all) - len(self.queued)


class ErasureStore:
    """Every method may be repeated, by any process. Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.now = database.clock.now

    async def under_way(self, number: str) -> UnderWay:
        """The messages to this number that are QUEUED or SENDING."""
        waiting = messages.c.state.in_((Status.QUEUED, Status.SENDING))
        found: list[Message] = []
        async with self._database.read(patience=PATIENCE) as connection:
            for app in (await connection.execute(APPS)).scalars().all():
                query = select(*messages.c).where(to_number(app, number), waiting)
                found += [message_of(row) for row in await connection.execute(query)]
        return UnderWay(found)

    async def add(self, new: Erasure, entry: Entry) -> None:
        """Record a request for an erasure, and the audit's entry of it."""
        async with self._database.write(patience=PATIENCE) as connection:
            await connection.execute(insert(erasures).values(row_of(new)))
            await append(connection, [entry])

    async def find(self, erasure_id: UUID) -> Erasure | None:
        """One erasure, with the disks that have not confirmed; None if there is none."""
        found = await self._find(erasures.c.id == erasure_id)
        return found[0] if found else None

    async def of_digest(self, digest: bytes) -> list[Erasure]:
        """The erasures of one number, oldest first."""
        return await self._find(erasures.c.digest == digest)

    async def open(self) -> list[Erasure]:
        """Those that are not completed, oldest first."""
        return await self._find(erasures.c.completed_at.is_(None))

    async def claim(self, erasure_id: UUID, *, lease: UUID) -> bool:
        """Take the lease on an open erasure; False if another process has it."""
        now, column = self.now(), erasures.c
        free = or_(column.lease.is_(None), column.lease == lease, column.lease_until < now)
        taken = (
            update(erasures)
            .where(column.id == erasure_id, column.completed_at.is_(None), free)
            .values(lease=lease, lease_until=now + LEASE)
        )
        async with self._database.write(patience=PATIENCE) as connection:
            return (await connection.execute(taken)).rowcount > 0

    async def release(self, erasure_id: UUID, *, lease: UUID) -> None:
        """Give the lease back."""
        mine = (erasures.c.id == erasure_id) & (erasures.c.lease == lease)
        async with self._database.write(patience=PATIENCE) as connection:
            await connection.execute(update(erasures).where(mine).values(lease=None))

    async def erase_messages(self, erasure: Erasure) -> int:
        """Erase up to BATCH messages to the number that were recorded before the request; returns
        how many. None that is queued or being sent is erased.
        """
        number, now = erasure.number, self.now()
        if number is None:
            return 0
        async with self._database.write(patience=PATIENCE) as connection:
            ids: list[UUID] = []
            for app in (await connection.execute(APPS)).scalars().all():
                query = select(messages.c.id).where(
                    to_number(app, number), messages.c.created_at <= erasure.requested_at
                )
                some = await connection.execute(query.limit(BATCH - len(ids)))
                ids += some.scalars()
                if len(ids) >= BATCH:
                    break
            if not ids:
                return 0
            rows = await locked(connection, ids)
            if rows:
                await count(connection, erasure.id, await erase_all(connection, rows, now))
        return len(rows)

    async def sending_before(self, erasure: Erasure) -> bool:
        """Whether a message from before the erasure is still on its way, to be erased later."""
        if erasure.number is None:
            return False
        under_way = await self.under_way(erasure.number)
        return any(one.created_at <= erasure.requested_at for one in under_way.all)

    async def erase_mentions(self, erasure: Erasure) -> None:
        """Erase what mentions the number elsewhere; nothing once the number is forgotten."""
        if erasure.number is None:
            return
        mentions, now = Mentions(erasure.number), self.now()
        await erase_rejected(self._database, erasure.id, mentions, now)
        await erase_unmatched(self._database, erasure.id, mentions, now)
        await erase_other_texts(self._database, erasure.id, erasure.number, mentions, now)

    async def drop_late_bodies(self) -> int:
        """Drop bodies of receipts that came after their message was erased; returns how many."""
        lately = erased.c.erased_at > self.now() - LATE
        sms_activity_id = erased.c.sms_activity_id
        async with self._database.write(patience=PATIENCE) as connection:
            unknown = (
                select(erased.c.id, messages.c.sms_activity_id)
                .join(messages, messages.c.id == erased.c.id)
                .where(lately, sms_activity_id.is_(None), messages.c.sms_activity_id.is_not(None))
            )
            for row in (await connection.execute(unknown)).all():
                values = {"sms_activity_id": row.sms_activity_id, "erased_at": self.now()}
                await connection.execute(update(erased).where(erased.c.id == row.id).values(values))
            names = select(sms_activity_id).where(lately, sms_activity_id.is_not(None))
            late = (
                update(receipts)
                .where(receipts.c.sms_activity_id.in_(names), func.length(receipts.c.body) > 0)
                .values(body=b"")
                .returning(receipts.c.sms_activity_id)
            )
            found = (await connection.execute(late)).scalars().all()
            theirs = select(erased.c.id).where(sms_activity_id.in_(found))
            ids = (await connection.execute(theirs)).scalars().all() if found else []
            await delete_salts(connection, messages=ids, sms_activity_ids=found)
        return len(found)

    async def renew_statistics(self) -> None:
        """Renew the statistics of PostgreSQL's planner: they hold frequent values of columns, also
        erased ones. The old rows of the statistics go with its next vacuum.
        """
        if self._database.is_sqlite:
            return
        for table in _ANALYZED:
            async with self._database.write(patience=PATIENCE) as connection:
                await connection.execute(text(f"analyze {table.name}"))

    async def mark_erased(self, erasure_id: UUID) -> None:
        """Record that the database has nothing of it any more."""
        column = erasures.c
        await self._mark(column.id == erasure_id, column.erased_at.is_(None), erased_at=self.now())

    async def complete(self, erasure_id: UUID) -> None:
        """Record that every disk has confirmed, and forget the number."""
        column = erasures.c
        open_ = column.completed_at.is_(None)
        await self._mark(column.id == erasure_id, open_, completed_at=self.now(), number=None)

    async def _mark(self, *which: ColumnElement[bool], **values: Any) -> None:
        async with self._database.write(patience=PATIENCE) as connection:
            await connection.execute(update(erasures).where(*which).values(**values))

    async def _find(self, which: ColumnElement[bool]) -> list[Erasure]:
        query = select(*erasures.c).where(which).order_by(erasures.c.requested_at)
        confirmed = select(erasure_confirmations.c.disk_id)
        async with self._database.read(patience=PATIENCE) as connection:
            found = []
            for row in (await connection.execute(query)).all():
                waiting: list[Any] = []
                if row.completed_at is None:
                    of_it = confirmed.where(erasure_confirmations.c.erasure_id == row.id)
                    missing = select(*disks.c).where(disks.c.id.not_in(of_it))
                    waiting += (await connection.execute(missing)).all()
                    waiting += await unregistered(connection)
                found.append(erasure_of(row, waiting))
            return found


def row_of(erasure: Erasure) -> dict[str, Any]:
    """The row of an erasure."""
    return {
        "id": erasure.id,
        "requested_at": erasure.requested_at,
        "who": erasure.who,
        "app": erasure.app,
        "digest": erasure.digest,
        "number": erasure.number,
        "counts": json.dumps(dict(erasure.counts)),
        "erased_at": erasure.erased_at,
        "completed_at": erasure.completed_at,
    }


def erasure_of(row: Row[*tuple[Any, ...]], waiting: Sequence[Any]) -> Erasure:
    """An erasure from its row and those of the disks that it waits for."""
    counts = dict.fromkeys(KINDS, 0) | json.loads(row.counts)
    return Erasure(
        id=row.id,
        requested_at=row.requested_at,
        who=row.who,
        app=row.app,
        digest=row.digest,
        number=row.number,
        counts=counts,
        erased_at=row.erased_at,
        completed_at=row.completed_at,
        waiting_for=tuple(Disk(UUID(str(one.id)), one.host, one.seen_at) for one in waiting),
    )
