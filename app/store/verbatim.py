"""What only a message's page shows: its receipts' bodies as they came, and webhook deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from app.model.webhook import Delivery
from app.store.engine import Database
from app.store.outbox.deliveries import COLUMNS, delivery_of
from app.store.tables import receipts, webhook_deliveries, webhooks

MAX_DELIVERIES = 200
"""Deliveries of one message that are shown."""


@dataclass(frozen=True, slots=True)
class ReceiptBody:
    """The body of one receipt, byte for byte. ``key`` and ``received_at`` identify the receipt."""

    status: str
    key: int
    received_at: datetime
    body: bytes


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """A delivery, with the URL and the app of its webhook."""

    delivery: Delivery
    url: str
    app: str | None


class VerbatimStore:
    """Reads only. Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def receipt_bodies(self, sms_activity_id: str) -> Sequence[ReceiptBody]:
        """The bodies of an id's receipts."""
        column = receipts.c
        query = select(column.status, column.status_key, column.received_at, column.body).where(
            column.sms_activity_id == sms_activity_id
        )
        async with self._database.read() as connection:
            return [
                ReceiptBody(row.status, row.status_key, row.received_at, bytes(row.body))
                for row in await connection.execute(query)
            ]

    async def webhook_deliveries(self, message_id: UUID) -> Sequence[WebhookDelivery]:
        """Deliveries of a message's events, oldest first."""
        outbox = webhook_deliveries
        query = (
            select(*COLUMNS, webhooks.c.url.label("url"), webhooks.c.app.label("app"))
            .select_from(outbox.join(webhooks, webhooks.c.id == outbox.c.webhook_id))
            .where(outbox.c.message_id == message_id)
            .order_by(outbox.c.id)
            .limit(MAX_DELIVERIES)
        )
        async with self._database.read() as connection:
            return [
                WebhookDelivery(delivery_of(row), row.url, row.app)
                for row in await connection.execute(query)
            ]
