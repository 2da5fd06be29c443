"""Repeats erasures after a restore, by the ids that were noted: the numbers are not known any more.

Part of a transaction of the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.mentions import ERASED
from app.model.message import Outcome, Step
from app.model.status import Status
from app.store.erasing import keys
from app.store.erasing.places import erase_all, locked, note_erased
from app.store.events import NewEvent, append
from app.store.evidence.removals import record_erasure_without_message
from app.store.settling import settle_each
from app.store.tables import audit, messages, receipts, rejected_receipts


async def erase_again(
    connection: AsyncConnection, noted: Mapping[UUID, str | None], now: datetime
) -> None:
    """Erase what has one of the ``noted`` ids, each with its sms_activity_id if it has one."""
    names = [name for name in noted.values() if name is not None]
    rows = await locked(connection, noted)
    cancelled = await _cancel(connection, noted, now)
    if cancelled:
        rows = await locked(connection, noted)
    for row in rows:
        if row.erased_at is None:
            await erase_all(connection, [row], now)
    column = receipts.c
    restored = column.sms_activity_id.in_(names) & (func.length(column.body) > 0)
    bodies = update(receipts).where(restored).values(body=b"").returning(column.sms_activity_id)
    emptied = set((await connection.execute(bodies)).scalars())
    calls = update(rejected_receipts).where(rejected_receipts.c.id.in_(noted))
    await connection.execute(calls.values(body=b"", reason=ERASED))
    texts = (audit.c.destination, audit.c.reference, audit.c.details)
    with_text = audit.c.id.in_(noted) & or_(*(each.is_not(None) for each in texts))
    erased = update(audit).where(with_text).returning(audit.c.id)
    erased = erased.values(destination=None, reference=None, once=None, details=None)
    entries = (await connection.execute(erased)).scalars().all()
    await record_erasure_without_message(connection, sms_activity_ids=emptied, entries=entries)
    await keys.erase_again(connection, noted)
    await note_erased(connection, noted, now)
    await append(connection, cancelled, now)


async def _cancel(
    connection: AsyncConnection, noted: Mapping[UUID, str | None], now: datetime
) -> list[NewEvent]:
    """Cancel those that are queued, as the erasure did before; returns the events to write."""
    queued = (messages.c.state == Status.QUEUED) & messages.c.erased_at.is_(None)
    query = select(messages.c.id).where(messages.c.id.in_(noted), queued).order_by(messages.c.id)
    step = Step(Status.CANCELLED, now)
    ids = (await connection.execute(query)).scalars()
    return await settle_each(
        connection, [Outcome(id_, None, step, announce=True, attempted=False) for id_ in ids]
    )
