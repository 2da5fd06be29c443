"""Records erasures and purges in the evidence log, in the caller's transaction: deletes the salts
of the removed values, and enqueues the fact that says so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.evidence.pending import enqueue
from app.store.evidence.rows import PendingFact
from app.store.evidence.salts import delete_salts, delete_text_salts


async def record_message_erasure(connection: AsyncConnection, rows: Sequence[Any]) -> None:
    """Messages were erased. ``rows`` have an ``id`` and an ``sms_activity_id`` each."""
    ids = [row.id for row in rows]
    names = [row.sms_activity_id for row in rows if row.sms_activity_id is not None]
    await delete_salts(connection, messages=ids, sms_activity_ids=names)
    await enqueue(connection, [PendingFact(id_, "erased", {}) for id_ in ids])


async def record_erasure_without_message(
    connection: AsyncConnection,
    *,
    sms_activity_ids: Collection[str] = (),
    entries: Collection[UUID] = (),
) -> None:
    """Values of unmatched receipts, or of entries of the audit, were erased."""
    if sms_activity_ids or entries:
        await delete_salts(connection, sms_activity_ids=sms_activity_ids, entries=entries)
        fields = {
            "sms_activity_ids": sorted(sms_activity_ids),
            "entries": sorted(str(id_) for id_ in entries),
        }
        await enqueue(connection, [PendingFact(None, "erased", fields)])


async def record_purge(
    connection: AsyncConnection,
    before: datetime,
    *,
    messages: Collection[UUID] = (),
    sms_activity_ids: Collection[str] = (),
    entries: Collection[UUID] = (),
) -> None:
    """Messages, unmatched receipts, or entries of the audit were deleted for being older than
    ``before``. The fact names each, so that the audit of the log takes no other row for purged.
    """
    if messages or sms_activity_ids or entries:
        await delete_salts(
            connection, messages=messages, sms_activity_ids=sms_activity_ids, entries=entries
        )
        fields = {
            "before": _time_text(before),
            "messages": sorted(str(id_) for id_ in messages),
            "sms_activity_ids": sorted(sms_activity_ids),
            "entries": sorted(str(id_) for id_ in entries),
        }
        await enqueue(connection, [PendingFact(None, "purged", fields)])


async def record_texts_purge(
    connection: AsyncConnection, messages: Collection[UUID], before: datetime
) -> None:
    """The texts of messages were deleted for being older than ``before``."""
    await delete_text_salts(connection, messages)
    fields = {"before": _time_text(before), "messages": sorted(str(id_) for id_ in messages)}
    await enqueue(connection, [PendingFact(None, "texts_purged", fields)])


def _time_text(moment: datetime) -> str:
    """As times stand in facts: UTC, RFC 3339 with microseconds."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
