"""Makes messages UNCONFIRMED that may have been sent under two leases, so that no third one is.

docs/architecture.md has when that happens ("The journal", forks).
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import select

from app.model.message import Outcome, Step
from app.model.status import Status
from app.store.engine import Database
from app.store.events import append
from app.store.settling import settle_each
from app.store.tables import messages

WHY = "it may have been sent before the database lost that record, and again since"
PATIENCE = 30.0
"""Seconds for a transaction."""


class ForkStore:
    """Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unconfirm(self, leases: Collection[tuple[UUID, UUID]]) -> int:
        """Make messages UNCONFIRMED that are QUEUED, or SENDING by another lease than the one here.

        Returns how many. An attempt that is under way loses its lease: it cannot be queued again,
        and iovox's acceptance or a receipt settles it.
        """
        now = self._database.clock.now()
        column = messages.c
        found = select(column.id, column.lease).where(
            column.id.in_({message_id for message_id, _ in leases}),
            column.state.in_([Status.QUEUED, Status.SENDING]),
            column.sms_activity_id.is_(None),
        )
        step = Step(Status.UNCONFIRMED, now, (WHY,))
        async with self._database.write(patience=PATIENCE) as connection:
            rows = await connection.execute(found.order_by(column.id).with_for_update())
            events = await settle_each(
                connection,
                [
                    Outcome(row.id, row.lease, step, announce=True, attempted=False)
                    for row in rows
                    if (row.id, row.lease) not in leases
                ],
            )
            await append(connection, events, now)
        return len(events)
