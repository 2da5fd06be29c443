"""Deliveries as a webhook's owner sees them: listed, replayed, and test deliveries.

The caller has checked that its client may see the webhook.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from app.model.audit import Entry
from app.model.webhook import Delivery, DeliveryState, Payload, Replay
from app.store.audit import append
from app.store.engine import Database
from app.store.outbox.attempts import attempts_of
from app.store.tables import webhook_deliveries, webhooks
from app.store.upsert import upsert

COLUMNS = tuple(webhook_deliveries.c)


class WebhookDeliveryStore:
    """Deliveries of one webhook at a time. ``entry`` is the audit's, appended with the change."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, webhook_id: UUID, *, state: DeliveryState | None, below: UUID | None, limit: int
    ) -> list[Delivery]:
        """Up to ``limit`` deliveries, the newest first, with ids below ``below``."""
        query = select(*COLUMNS).where(webhook_deliveries.c.webhook_id == webhook_id)
        if state is not None:
            query = query.where(webhook_deliveries.c.state == state)
        if below is not None:
            query = query.where(webhook_deliveries.c.id < below)
        query = query.order_by(webhook_deliveries.c.id.desc()).limit(limit)
        async with self._database.read() as connection:
            return [delivery_of(row) for row in await connection.execute(query)]

    async def find(self, webhook_id: UUID, delivery_id: UUID) -> Delivery | None:
        """One delivery; None if this webhook has none with this id."""
        query = select(*COLUMNS).where(_one(webhook_id, delivery_id))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else delivery_of(row)

    async def add(
        self, webhook_id: UUID, payload: Payload, now: datetime, *, entry: Entry | None = None
    ) -> Delivery:
        """Add a delivery, such as a test, that is sent at once, even to a receiver that is down."""
        async with self._database.write() as connection:
            (delivery_id,) = await insert_pending(connection, webhook_id, [payload], now)
            await _try_now(connection, webhook_id)
            await append(connection, [entry])
            row = await connection.execute(
                select(*COLUMNS).where(webhook_deliveries.c.id == delivery_id)
            )
            return delivery_of(row.one())

    async def replay(
        self, webhook_id: UUID, delivery_id: UUID, now: datetime, *, entry: Entry | None = None
    ) -> Delivery | None:
        """Send one again; None if there is none."""
        async with self._database.write() as connection:
            replayed = await connection.execute(_replay(_one(webhook_id, delivery_id), now))
            row = replayed.one_or_none()
            if row is None:
                return None
            await _try_now(connection, webhook_id)
            await append(connection, [entry])
            return delivery_of(row)

    async def replay_range(
        self,
        webhook_id: UUID,
        which: Replay,
        *,
        now: datetime,
        most: int,
        entry: Entry | None = None,
    ) -> list[int]:
        """Send up to ``most`` in the range again, oldest event first; returns their numbers."""
        found = select(webhook_deliveries.c.id).where(
            webhook_deliveries.c.webhook_id == webhook_id, *_within(which)
        )
        some = found.order_by(webhook_deliveries.c.event_id).limit(most)
        async with self._database.write() as connection:
            replayed = await connection.execute(_replay(webhook_deliveries.c.id.in_(some), now))
            numbers = sorted(row.event_id for row in replayed)
            if numbers:
                await _try_now(connection, webhook_id)
                await append(connection, [entry])
            return numbers


def delivery_of(row: Row[*tuple[Any, ...]]) -> Delivery:
    """A delivery from a row of COLUMNS."""
    return Delivery(
        id=row.id,
        webhook_id=row.webhook_id,
        event=row.event_id,
        recorded_at=row.recorded_at,
        message_id=row.message_id,
        type=row.type,
        body=row.body,
        state=DeliveryState(row.state),
        replays=row.replays,
        attempts=row.attempts,
        created_at=row.created_at,
        first_attempt_at=row.first_attempt_at,
        next_attempt_at=row.next_attempt_at,
        ended_at=row.ended_at,
        status_code=row.status_code,
        error=row.error,
        attempt_log=attempts_of(row.attempt_log),
    )


async def insert_pending(
    connection: AsyncConnection, webhook_id: UUID, payloads: Sequence[Payload], now: datetime
) -> list[UUID]:
    """Add payloads to the outbox, but for events that it has already; returns their ids."""
    rows = [
        {
            "id": uuid7(),
            "webhook_id": webhook_id,
            "event_id": payload.event,
            "recorded_at": payload.recorded_at,
            "message_id": payload.message_id,
            "type": payload.type,
            "body": payload.body,
            "state": DeliveryState.PENDING,
            "created_at": now,
            "next_attempt_at": now,
        }
        for payload in payloads
    ]
    await connection.execute(upsert(connection, webhook_deliveries).on_conflict_do_nothing(), rows)
    return [row["id"] for row in rows if isinstance(row["id"], UUID)]


def _one(webhook_id: UUID, delivery_id: UUID) -> ColumnElement[bool]:
    return (webhook_deliveries.c.id == delivery_id) & (
        webhook_deliveries.c.webhook_id == webhook_id
    )


def _within(which: Replay) -> list[ColumnElement[bool]]:
    column = webhook_deliveries.c
    bounds = (
        (which.after, operator.gt, column.event_id),
        (which.until, operator.le, column.event_id),
        (which.start, operator.ge, column.recorded_at),
        (which.end, operator.lt, column.recorded_at),
        (which.state, operator.eq, column.state),
    )
    chosen = [compare(of, value) for value, compare, of in bounds if value is not None]
    return [column.event_id.is_not(None), *chosen]


def _replay(which: ColumnElement[bool], now: datetime) -> Any:
    return (
        update(webhook_deliveries)
        .where(which)
        .values(
            state=DeliveryState.PENDING,
            replays=webhook_deliveries.c.replays + 1,
            attempts=0,
            first_attempt_at=None,
            next_attempt_at=now,
            ended_at=None,
        )
        .returning(*COLUMNS)
    )


async def _try_now(connection: AsyncConnection, webhook_id: UUID) -> None:
    """Drop the webhook's backoff: an owner who asks for a delivery wants its outcome now."""
    await connection.execute(
        update(webhooks).where(webhooks.c.id == webhook_id).values(not_before=None)
    )
