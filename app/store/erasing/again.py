"""Repeats an erasure in a database that was set back, by the ids that were noted.

Part of a transaction of the caller's. The number is not known any more.
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
from app.store.evidence.telling import tell_of_erased_elsewhere
from app.store.settling import settle_each
from app.store.tables import audit, messages, receipts, rejected_receipts


async def erase_again(
    connection: AsyncConnection, found: Mapping[UUID, str | None], now: datetime
) -> None:
    """Erase what was noted under these ids, with iovox's where there is one."""
    names = [name for name in found.values() if name is not None]
    rows = await locked(connection, found)
    cancelled = await _cancel(connection, found, now)
    if cancelled:
        rows = await locked(connection, found)
    for row in rows:
        if row.erased_at is None:
            await erase_all(connection, [row], now)
    column = receipts.c
    back = column.sms_activity_id.in_(names) & (func.length(column.body) > 0)
    bodies = update(receipts).where(back).values(body=b"").returning(column.sms_activity_id)
    nobodys = set((await connection.execute(bodies)).scalars())
    calls = update(rejected_receipts).where(rejected_receipts.c.id.in_(found))
    await connection.execute(calls.values(body=b"", reason=ERASED))
    words = (audit.c.destination, audit.c.reference, audit.c.details)
    told = audit.c.id.in_(found) & or_(*(each.is_not(None) for each in words))
    gone = update(audit).where(told).returning(audit.c.id)
    gone = gone.values(destination=None, reference=None, once=None, details=None)
    entries = (await connection.execute(gone)).scalars().all()
    await tell_of_erased_elsewhere(connection, sms_activity_ids=nobodys, entries=entries)
    await keys.erase_again(connection, found)
    await note_erased(connection, found, now)
    await append(connection, cancelled, now)


async def _cancel(
    connection: AsyncConnection, found: Mapping[UUID, str | None], now: datetime
) -> list[NewEvent]:
    """What waits to be sent: it was cancelled before it was erased."""
    queued = (messages.c.state == Status.QUEUED) & messages.c.erased_at.is_(None)
    query = select(messages.c.id).where(messages.c.id.in_(found), queued).order_by(messages.c.id)
    step = Step(Status.CANCELLED, now)
    ids = (await connection.execute(query)).scalars()
    return await settle_each(
        connection, [Outcome(id_, None, step, announce=True, attempted=False) for id_ in ids]
    )
