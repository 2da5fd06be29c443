"""Reschedules what is dated in the future after the database's clock was set back.

A retry that was due in a second would be due in an hour and a second, and the lease of a process
that has died would last as long. Rows are recognised by their own dates, so doing this twice, or by
several replicas, changes nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, literal_column, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.webhook import DeliveryState
from app.store.engine import Database
from app.store.tables import messages, webhook_deliveries, webhooks

TOLERANCE = timedelta(seconds=2)
"""How far ahead a date may lie without a clock having been set: replicas know the database's clock
as exactly as it answers."""

_QUEUED = messages.c.state == literal_column("'QUEUED'")
_SENDING = messages.c.state == literal_column("'SENDING'")


@dataclass(frozen=True, slots=True)
class Rescheduled:
    """How many rows were rescheduled."""

    queued: int
    leased: int
    webhooks: int


class SetbackStore:
    """``webhook_lease``: how long a lease on a webhook lasts. ``webhook_pause``: the longest time
    between two attempts at a delivery.
    """

    def __init__(
        self, database: Database, *, webhook_lease: timedelta, webhook_pause: timedelta
    ) -> None:
        self._database = database
        self._webhook_lease = webhook_lease
        self._webhook_pause = webhook_pause

    async def reschedule(self, *, was_set: bool) -> Rescheduled:
        """Make queued messages due that are dated in the future; give leases their length again.

        ``was_set``: the clock was seen being set back. Deliveries to webhooks have no column that
        says when their next attempt was set, so then all that wait become due, and otherwise those
        that would wait for longer than ``webhook_pause``. Raises StoreUnavailable.
        """
        async with self._database.write() as connection:
            now = self._database.clock.now()
            return Rescheduled(
                queued=await _reschedule_queued(connection, now),
                leased=await _reschedule_leased(connection, now),
                webhooks=await self._reschedule_webhooks(connection, now, was_set=was_set),
            )

    async def _reschedule_webhooks(
        self, connection: AsyncConnection, now: datetime, *, was_set: bool
    ) -> int:
        beyond = now if was_set else now + self._webhook_pause
        longest = now + self._webhook_lease
        lease_until, not_before = webhooks.c.lease_until, webhooks.c.not_before
        hooks = await connection.execute(
            update(webhooks)
            .where(or_(lease_until > longest, not_before > beyond))
            .values(
                lease_until=case((lease_until > longest, longest), else_=lease_until),
                not_before=case((not_before > beyond, None), else_=not_before),
            )
        )
        pending = webhook_deliveries.c.state == DeliveryState.PENDING
        due = await connection.execute(
            update(webhook_deliveries)
            .where(pending, webhook_deliveries.c.next_attempt_at > beyond)
            .values(next_attempt_at=now)
        )
        return hooks.rowcount + due.rowcount


async def _reschedule_queued(connection: AsyncConnection, now: datetime) -> int:
    ahead = select(messages.c.id).where(_QUEUED, messages.c.state_at > now + TOLERANCE)
    in_order = ahead.order_by(messages.c.id).with_for_update()  # the order of locks everywhere
    changed = await connection.execute(
        update(messages)
        .where(messages.c.id.in_(in_order), _QUEUED)
        .values(
            state_at=now,
            next_attempt_at=case((messages.c.send_at > now, messages.c.send_at), else_=now),
        )
    )
    return changed.rowcount


async def _reschedule_leased(connection: AsyncConnection, now: datetime) -> int:
    column = messages.c
    ahead = select(column.id, column.state_at, column.lease_until).where(
        _SENDING, column.state_at > now + TOLERANCE
    )
    rows = (await connection.execute(ahead.order_by(column.id).with_for_update())).all()
    for row in rows:
        lease = now + (row.lease_until - row.state_at)
        await connection.execute(
            update(messages)
            .where(column.id == row.id, _SENDING)
            .values(state_at=now, lease_until=lease)
        )
    return len(rows)
