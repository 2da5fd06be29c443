"""Messages that are stuck: due, or being sent, for longer than it should take. Reads only.

Partial indexes have only what waits, so the cost does not grow with the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import and_, or_, select, union_all

from app.model.message import Record
from app.model.status import Status
from app.store.any_of import any_of
from app.store.engine import Database
from app.store.lists.store import APPS
from app.store.records import of_messages, record_of
from app.store.tables import messages

LONGEST_RETRY = timedelta(minutes=15)
"""A message that waits for a retry is due within this time; a scheduled one may be due later."""
DUE_FOR = timedelta(minutes=1)
"""How long a message must have been due: a worker claims it within seconds."""


class StuckStore:
    """Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, *, app: str | None, now: datetime, limit: int) -> Sequence[Record]:
        """Messages that wait for a retry, that no worker claims, or whose lease has run out."""
        column = messages.c
        tried_or_late = or_(column.attempts > 0, column.next_attempt_at < now - DUE_FOR)
        of_app = () if app is None else (column.app == app,)
        is_sqlite = self._database.is_sqlite
        async with self._database.read() as connection:
            apps = [app] if app else (await connection.execute(APPS)).scalars().all()
            waiting = (
                select(column.id)
                .where(
                    column.app.in_(apps),
                    column.state == Status.QUEUED,
                    and_(column.next_attempt_at < now + LONGEST_RETRY, tried_or_late),
                )
                .order_by(column.next_attempt_at)
                .limit(limit)
                .subquery()
            )
            left = (
                select(column.id)
                .where(column.state == Status.SENDING, column.lease_until < now, *of_app)
                .limit(limit)
                .subquery()
            )
            either = union_all(select(waiting.c.id), select(left.c.id)).limit(limit)
            ids: list[UUID] = list((await connection.execute(either)).scalars())
            if not ids:
                return ()
            details = of_messages(history=False, is_sqlite=is_sqlite)
            rows = await connection.execute(
                details.where(any_of(messages.c.id, "ids", is_sqlite=is_sqlite)), {"ids": ids}
            )
            found = [record_of(row) for row in rows]
        return sorted(found, key=lambda one: one.message.created_at if one.message else now)
