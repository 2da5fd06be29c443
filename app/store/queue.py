"""The queue as an operator sees it: what waits, by app, and settlements by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import func, insert, literal_column, select

from app.model.audit import Entry
from app.model.fact import Settled
from app.model.message import Outcome, Step
from app.model.status import Status
from app.store.audit import append as append_to_audit
from app.store.engine import Database
from app.store.events import append
from app.store.settling import settle_each
from app.store.tables import messages, queue_settlements

AT_ONCE = 500
WHY = "an operator settled it: the database had forgotten whether it was sent"
# Literals: a partial index is used only if the statement itself names its state.
_QUEUED = messages.c.state == literal_column("'QUEUED'")


@dataclass(frozen=True, slots=True)
class Waiting:
    """The queued messages of one app. ``since``: when the oldest of them was recorded."""

    app: str
    messages: int
    due: int
    since: datetime


class QueueStore:
    """Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self, now: datetime) -> list[Waiting]:
        """What is queued, by app."""
        due = func.count().filter(messages.c.next_attempt_at <= now)
        query = (
            select(messages.c.app, func.count(), due, func.min(messages.c.created_at))
            .where(_QUEUED)
            .group_by(messages.c.app)
            .order_by(messages.c.app)
        )
        async with self._database.read() as connection:
            return [Waiting(*row) for row in await connection.execute(query)]

    async def settlements(self) -> list[Settled]:
        """All settlements by operators."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(queue_settlements))
            return [Settled(row.id, row.before, row.settled_at, row.settled_by) for row in rows]

    async def settle(
        self, before: datetime, *, by: str, id_: UUID | None = None, entry: Entry | None = None
    ) -> int:
        """Make messages UNCONFIRMED that are QUEUED and were recorded before; returns how many.

        The settlement is recorded first, so that journals have it and repeat it after a restore;
        ``id_`` is that of a repeated one. ``entry`` is the audit's, appended with a new one.
        """
        now = self._database.clock.now()
        values = {"id": id_ or uuid4(), "before": before, "settled_at": now, "settled_by": by}
        async with self._database.write() as connection:
            there = select(queue_settlements.c.id).where(queue_settlements.c.id == values["id"])
            if (await connection.execute(there)).first() is None:
                await connection.execute(insert(queue_settlements).values(values))
                await append_to_audit(connection, [entry])
        settled = 0
        while some := await self._settle_some(before, now):
            settled += some
        return settled

    async def _settle_some(self, before: datetime, now: datetime) -> int:
        older = select(messages.c.id).where(_QUEUED, messages.c.created_at < before)
        async with self._database.write() as connection:
            rows = await connection.execute(
                older.order_by(messages.c.id).limit(AT_ONCE).with_for_update(skip_locked=True)
            )
            step = Step(Status.UNCONFIRMED, now, (WHY,))
            events = await settle_each(
                connection,
                [
                    Outcome(id_, None, step, announce=True, attempted=False)
                    for id_ in rows.scalars()
                ],
            )
            await append(connection, events, now)
        return len(events)
