"""All that is known of a message, read for whoever asks."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.message import Record, StoredReceipt
from app.model.status import Status
from app.store.engine import Database
from app.store.messages import errors_of, message_of, steps_of
from app.store.tables import deliveries, messages, receipts

_DELIVERY = (
    deliveries.c.status.label("delivery_status"),
    deliveries.c.status_at.label("delivery_status_at"),
    deliveries.c.seen,
)


class HistoryStore:
    """Reads only. A record is None where the id names nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_message_id(self, message_id: UUID) -> Record | None:
        """The message with this id of ours."""
        return await self._message(messages.c.id == message_id)

    async def by_sms_activity_id(self, sms_activity_id: str) -> Record | None:
        """The message that iovox knows by this id, or what receipts alone tell of it."""
        record = await self._message(messages.c.sms_activity_id == sms_activity_id)
        if record is not None:
            return record
        query = select(deliveries).where(deliveries.c.sms_activity_id == sms_activity_id)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                return None
            found = await _receipts(connection, sms_activity_id)
        return Record(
            message=None,
            sms_activity_id=sms_activity_id,
            status=row.status,
            status_at=row.status_at,
            seen=row.seen,
            receipts=found,
        )

    async def _message(self, which: ColumnElement[bool]) -> Record | None:
        joined = messages.outerjoin(
            deliveries, deliveries.c.sms_activity_id == messages.c.sms_activity_id
        )
        query = select(*messages.c, *_DELIVERY).select_from(joined).where(which)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
            if row is None:
                return None
            found = await _receipts(connection, row.sms_activity_id) if row.sms_activity_id else ()
            again = await connection.execute(
                select(messages.c.id).where(messages.c.resend_of == row.id).order_by(messages.c.id)
            )
            return _record(row, found, tuple(again.scalars()))


def _record(
    row: Row[*tuple[Any, ...]], found: tuple[StoredReceipt, ...], resent_as: tuple[UUID, ...]
) -> Record:
    status, status_at = row.delivery_status or row.state, row.delivery_status_at or row.state_at
    if row.delivery_status == Status.SUBMITTED:
        status_at = row.submitted_at
    return Record(
        message=message_of(row),
        sms_activity_id=row.sms_activity_id,
        status=status,
        status_at=status_at,
        seen=row.seen or 0,
        submitted_at=row.submitted_at,
        errors=errors_of(row.errors),
        steps=steps_of(row.steps),
        resent_as=resent_as,
        receipts=found,
    )


async def _receipts(connection: AsyncConnection, sms_activity_id: str) -> tuple[StoredReceipt, ...]:
    rows = await connection.execute(
        select(
            receipts.c.status,
            receipts.c.at,
            receipts.c.status_key,
            receipts.c.time_quality,
            receipts.c.received_at,
            receipts.c.times_seen,
            receipts.c.delivery_status,
            receipts.c.status_reason,
            receipts.c.receipt_timestamp,
        ).where(receipts.c.sms_activity_id == sms_activity_id)
    )
    return tuple(StoredReceipt(*row) for row in rows)
