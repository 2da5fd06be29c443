"""The outbox of webhooks, filled from the log of events and not by the transactions that write it.

Each webhook has a position in the log, so receipts cost no more where there are webhooks, and no
event is missed or added twice. One process at a time delivers to a webhook: it holds a lease, and
changes the webhook's health only while it holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.event import Event
from app.model.webhook import AttemptResult, Delivery, DeliveryState, Health, Payload, Webhook
from app.parts.sealing import Sealer
from app.store.engine import Database
from app.store.feed import read_events
from app.store.outbox import statements as sql
from app.store.outbox.attempts import entry_of
from app.store.outbox.deliveries import delivery_of, insert_pending
from app.store.webhooks import webhook_of

CAPACITY = 1_000
"""Pending deliveries of one webhook at most. Later events wait in the log, which is kept anyway, so
a receiver that is away for days does not make the outbox grow."""
PAGE = 200
"""Events that are added to the outbox in one transaction."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A webhook that this process may deliver to now, and whether it has anything to deliver."""

    webhook_id: UUID
    has_events: bool
    has_due: bool


class OutboxStore:
    """The outbox of all webhooks. ``lease`` is the token of the calling process. Raises
    StoreUnavailable.
    """

    def __init__(self, database: Database, sealer: Sealer | None = None) -> None:
        self._database = database
        self._sealer = sealer or Sealer()
        self.only_alarms = False
        """True in a process without workers: it delivers alarms, and leaves events to others."""

    async def waiting(self, *, lease: UUID, now: datetime) -> list[Waiting]:
        """The active webhooks that no other process has a lease on."""
        async with self._database.read() as connection:
            query = sql.WAITING_ALARMS if self.only_alarms else sql.WAITING
            rows = await connection.execute(query, {"ours": lease, "now": now})
            return [Waiting(row[0], bool(row[1]), bool(row[2])) for row in rows]

    async def claim(
        self, webhook_ids: Collection[UUID], *, lease: UUID, now: datetime, until: datetime
    ) -> list[Webhook]:
        """Take leases; returns the webhooks that no other process has taken meanwhile."""
        values = {"ids": [*webhook_ids], "ours": lease, "now": now, "until": until}
        async with self._database.write() as connection:
            rows = await connection.execute(sql.CLAIM, values)
            return [webhook_of(row, self._sealer) for row in rows]

    async def held(self, webhook_id: UUID, *, lease: UUID) -> Webhook | None:
        """The webhook as it is now; None if the lease is lost or the webhook was removed."""
        async with self._database.read() as connection:
            found = await connection.execute(sql.HELD, {"webhook": webhook_id, "ours": lease})
            row = found.one_or_none()
        return None if row is None else webhook_of(row, self._sealer)

    async def keep(self, *, lease: UUID, until: datetime) -> None:
        """Renew every lease of this process."""
        async with self._database.write() as connection:
            await connection.execute(sql.RENEW, {"ours": lease, "until": until})

    async def release(self, webhook_ids: Collection[UUID], *, lease: UUID) -> None:
        """Give leases back."""
        async with self._database.write() as connection:
            await connection.execute(sql.RELEASE, {"ids": [*webhook_ids], "ours": lease})

    async def fill(
        self,
        webhook_id: UUID,
        *,
        lease: UUID,
        now: datetime,
        payload: Callable[[Event], Payload],
    ) -> bool:
        """Add the next events that a webhook subscribes to, as many as the outbox has room for.

        Returns whether there may be more that fit.
        """
        if self.only_alarms:
            return False
        async with self._database.write() as connection:
            held = await connection.execute(sql.POSITION, {"webhook": webhook_id, "ours": lease})
            row = held.one_or_none()
            if row is None:
                return False
            pending = await connection.execute(sql.PENDING, {"webhook": webhook_id})
            room = min(PAGE, CAPACITY - pending.scalar_one())
            if room <= 0:
                return False
            # Before the events are read: every event up to here is committed and will be seen.
            newest = await connection.execute(sql.NEWEST)
            end = newest.scalar_one() or 0
            wanted = sql.events_for(row.app, row.statuses.split(), row.position, end).limit(room)
            found = await read_events(connection, wanted)
            if found:
                await insert_pending(connection, webhook_id, [payload(e) for e in found], now)
            if len(found) == room:
                end = found[-1].number
            if found or end - row.position > sql.STRIDE:
                await connection.execute(sql.ADVANCE, {"webhook": webhook_id, "end": end})
            return len(found) == PAGE

    async def due(
        self, webhook_id: UUID, *, now: datetime, limit: int, under_way: Collection[UUID]
    ) -> list[Delivery]:
        """Deliveries to send now, the longest due first; of each message only the earliest.

        Those ``under_way`` are left out. They are still pending, so later ones of their messages
        wait for them.
        """
        values = {"webhook": webhook_id, "now": now, "limit": limit, "under_way": [*under_way]}
        async with self._database.read() as connection:
            query = sql.DUE_ALARMS if self.only_alarms else sql.DUE
            return [delivery_of(row) for row in await connection.execute(query, values)]

    async def record(
        self,
        webhook_id: UUID,
        attempts: Sequence[AttemptResult],
        health: Health,
        *,
        lease: UUID,
        now: datetime,
    ) -> None:
        """Record attempts, and the webhook's health as long as this process holds its lease.

        Attempts are recorded even if another process holds the lease by now: they were made.
        """
        async with self._database.write() as connection:
            values = {
                "webhook": webhook_id,
                "ours": lease,
                "new_state": health.state,
                "new_reason": health.reason,
                "new_failures": health.failures,
                "new_since": health.failing_since,
                "new_not_before": health.not_before,
            }
            # The webhook's lock before its deliveries', as in the transaction that removes it.
            held = (await connection.execute(sql.HEALTH, values)).one_or_none()
            in_order = sorted(attempts, key=lambda attempt: attempt.delivery_id)  # of locks
            await connection.execute(sql.ATTEMPTED, [_attempted(attempt) for attempt in in_order])
            if held is not None:
                await _settle_others(connection, webhook_id, health, now)

    async def forget(self, *, before: datetime, limit: int) -> int:
        """Delete up to ``limit`` deliveries that ended before then; returns how many."""
        async with self._database.write() as connection:
            gone = await connection.execute(sql.DELETE_ENDED, {"before": before, "limit": limit})
            return len(gone.all())


def _attempted(result: AttemptResult) -> dict[str, object]:
    is_pending = result.state is DeliveryState.PENDING
    attempt = result.attempt
    return {
        "delivery": result.delivery_id,
        "seen_replays": result.replays,
        "at": result.at,
        "new_state": result.state,
        "next_at": result.next_attempt_at,
        "new_ended_at": None if is_pending else result.at,
        "new_status_code": attempt.status_code,
        "new_error": attempt.error,
        "with_response": entry_of(attempt),
        "without_response": entry_of(replace(attempt, response=None)),
    }


async def _settle_others(
    connection: AsyncConnection, webhook_id: UUID, health: Health, now: datetime
) -> None:
    """Cancel what is pending for a receiver that is gone; send at once to one that is back."""
    values = {"webhook": webhook_id, "now": now}
    if health.has_ended:
        await connection.execute(sql.CANCEL, values)
    elif health.has_recovered:
        await connection.execute(sql.RETRY_NOW, values)
