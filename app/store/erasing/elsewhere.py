"""Erases a number where it is mentioned outside of the messages to it: in rejected calls, unmatched
receipts, responses to batches, idempotency keys, the audit, and free text of operators.

What was erased is counted in the transaction that did it. Raises StoreUnavailable.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.mentions import Mentions
from app.model.search import LAST_DIGITS
from app.store.engine import Database
from app.store.erasing.keys import erase_mentions_of, has_digits
from app.store.erasing.places import count, erase_receipts, note_erased
from app.store.evidence.removals import record_erasure_without_message
from app.store.ids import new_id
from app.store.tables import (
    audit,
    console_sign_ins,
    deliveries,
    queue_holds,
    receipts,
    rejected_receipts,
)

PATIENCE = 30.0
"""Seconds for a transaction."""
BATCH = 200
"""Rows that are read in one transaction."""


async def erase_rejected(
    database: Database, erasure_id: UUID, mentions: Mentions, now: datetime
) -> None:
    """Erase rejected calls that mention it: their bodies, and what the reasons quote of these."""
    column = rejected_receipts.c
    after: UUID | None = UUID(int=0)
    while after is not None:
        query = select(column.id, column.body, column.reason).where(column.id > after)
        async with database.write(patience=PATIENCE) as connection:
            rows = (await connection.execute(query.order_by(column.id).limit(BATCH))).all()
            found: dict[UUID, None] = {}
            for row in rows:
                if mentions.are_in_bytes(row.body) or mentions.are_in(row.reason):
                    found[row.id] = None
                    values = {"body": b"", "reason": mentions.erased_from(row.reason)}
                    this = column.id == row.id
                    await connection.execute(update(rejected_receipts).where(this).values(values))
            await note_erased(connection, found, now)
            await count(connection, erasure_id, {"rejected_calls": len(found)})
        after = rows[-1].id if len(rows) == BATCH else None


async def erase_unmatched(
    database: Database, erasure_id: UUID, mentions: Mentions, now: datetime
) -> None:
    """Erase unmatched receipts that mention it: only their bodies can tell whose they are."""
    column = deliveries.c
    unmatched = (column.message_id.is_(None), column.received_at.is_not(None))
    after: str | None = ""
    while after is not None:
        some = select(column.sms_activity_id).where(*unmatched, column.sms_activity_id > after)
        async with database.write(patience=PATIENCE) as connection:
            some = some.order_by(column.sms_activity_id).limit(BATCH)
            names = (await connection.execute(some)).scalars().all()
            bodies = select(receipts.c.sms_activity_id, receipts.c.body)
            rows = await connection.execute(bodies.where(receipts.c.sms_activity_id.in_(names)))
            found = {row[0] for row in rows if mentions.are_in_bytes(row.body)}
            bodies_gone = await erase_receipts(connection, dict.fromkeys(found, mentions))
            await record_erasure_without_message(connection, sms_activity_ids=found)
            await note_erased(connection, {new_id(): name for name in found}, now)
            await count(connection, erasure_id, {"receipts": bodies_gone})
        after = names[-1] if len(names) == BATCH else None


async def erase_other_texts(
    database: Database, erasure_id: UUID, number: str, mentions: Mentions, now: datetime
) -> None:
    """Erase it from idempotency keys, responses to batches, the audit, and free text."""
    async with database.write(patience=PATIENCE) as connection:
        searched = await _erase_searches(connection, number, mentions)
        keys = await erase_mentions_of(connection, mentions)
        await _erase_notes(connection, mentions)
        await note_erased(connection, dict.fromkeys([*searched, *keys]), now)
        await record_erasure_without_message(connection, entries=searched)
        counts = {"idempotency_keys": len(keys), "audit_entries": len(searched)}
        await count(connection, erasure_id, counts)


async def _erase_searches(
    connection: AsyncConnection, number: str, mentions: Mentions
) -> set[UUID]:
    """Erase it from the audit's searches and details; returns the ids of the entries."""
    column = audit.c
    # A search for the last digits is a search for this number, too.
    parts = [number[-length:] for length in range(LAST_DIGITS, len(number) + 1)]
    searched = update(audit).where(column.destination.in_(parts)).returning(column.id)
    changed = await connection.execute(searched.values(destination=None, once=None))
    found = set(changed.scalars())
    query = select(column.id, column.details).where(has_digits(column.details, mentions))
    for row in (await connection.execute(query)).all():
        details = mentions.erased_from_json(row.details)
        this = update(audit).where(column.id == row.id)
        await connection.execute(this.values(details=details, once=None))
        found.add(row.id)
    return found


async def _erase_notes(connection: AsyncConnection, mentions: Mentions) -> None:
    """Erase it from the reason of a hold, and from pages to go to after a sign-in under way."""
    for each in (queue_holds.c.reason, console_sign_ins.c.wanted):
        (key,) = each.table.primary_key.columns
        query = select(key.label("key"), each.label("text"))
        for row in (await connection.execute(query)).all():
            if mentions.are_in(row.text):
                values = {each.name: mentions.erased_from(row.text)}
                this = update(each.table).where(key == row.key)
                await connection.execute(this.values(values))
