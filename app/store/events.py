"""The log of status changes. Its ids are in commit order: a reader that is at N missed nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.tables import events

EVENT_LOCK = 7001
"""The PostgreSQL advisory lock under which events are written, held until commit."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A status change about to be written."""

    message_id: UUID
    app: str
    sms_activity_id: str | None
    status: str
    at: datetime
    contradictory: bool = False
    status_stays: bool = False
    """The message became contradictory, and this is the status that it had before."""
    digest: bytes | None = None
    """Of the receipt that is stored with the event: by it the evidence log finds the receipt."""


async def append(connection: AsyncConnection, new: Sequence[NewEvent], now: datetime) -> None:
    """Write events as the last thing a transaction does before it commits.

    On PostgreSQL the advisory lock is held until commit, so ids are assigned in commit order. It
    is the last in the order of locks: taken earlier, it deadlocks with a transaction that holds a
    message's row and has an event to write.
    """
    if not new:
        return
    if connection.dialect.name == "postgresql":
        await connection.execute(text(f"select pg_advisory_xact_lock({EVENT_LOCK})"))
    await connection.execute(
        insert(events),
        [
            {
                "message_id": event.message_id,
                "app": event.app,
                "sms_activity_id": event.sms_activity_id,
                "status": event.status,
                "at": event.at,
                "recorded_at": now,
                "contradictory": event.contradictory,
                "status_stays": event.status_stays,
                "digest": event.digest,
            }
            for event in new
        ],
    )
