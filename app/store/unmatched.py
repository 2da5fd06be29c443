"""The ids that are known from receipts alone, by the arrival of the first one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, tuple_

from app.model.message import Record
from app.store.engine import Database
from app.store.records import of_receipts_alone, record_of
from app.store.tables import deliveries


@dataclass(frozen=True, slots=True)
class Unmatched:
    """An id without a message of ours, and when its first receipt came."""

    record: Record
    received_at: datetime


class UnmatchedStore:
    """Reads only. Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, *, before: str | None, limit: int) -> Sequence[Unmatched] | None:
        """The newest ones older than the sms_activity_id ``before``; None if that was never in the
        list. It marks a place also once a message has been found for it.
        """
        place = (deliveries.c.received_at, deliveries.c.sms_activity_id)
        query = (
            of_receipts_alone(is_sqlite=self._database.is_sqlite)
            .add_columns(deliveries.c.received_at.label("received_at"))
            .where(deliveries.c.received_at.is_not(None))
            .order_by(*(each.desc() for each in place))
            .limit(limit)
        )
        async with self._database.read() as connection:
            if before is not None:
                where = (deliveries.c.sms_activity_id == before, place[0].is_not(None))
                found = (await connection.execute(select(*place).where(*where))).one_or_none()
                if found is None:
                    return None
                query = query.where(tuple_(*place) < tuple_(*found))
            rows = await connection.execute(query)
            return [Unmatched(record_of(row), row.received_at) for row in rows]
