"""Receipts on durable storage. A batch is one transaction: all of it is there, or none of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite as lite
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.message import Acceptance
from app.model.receipt import Arrival, Receipt, Rejection
from app.store import postgresql, sqlite
from app.store.binding import bind
from app.store.engine import Database
from app.store.tables import rejected_receipts


@dataclass(frozen=True, slots=True)
class KeptRejection:
    """A rejected call as it lies in the store."""

    arrival: Arrival
    http_status: int
    reason: str
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a batch: hints that could not be followed, as (hint, sms_activity_id)."""

    ignored_hints: tuple[tuple[UUID, str], ...] = ()


class ReceiptStore:
    """Receipts and rejected calls.

    Guarantee: when ``add`` returns, the batch is committed; what it raises, nothing of the batch
    is known to be stored, and adding it again is harmless, since arrivals are told apart by id.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, receipts: Sequence[Receipt], rejections: Sequence[Rejection]) -> Stored:
        """Store a batch, raise the statuses, write the events, follow the hints: one transaction.

        Raises StoreUnavailable or StoreRefused.
        """
        now = datetime.now(UTC)
        async with self._database.write() as connection:
            stored = Stored()
            if receipts:
                stored = await _receive(connection, receipts, now)
            if rejections:
                await _keep(connection, rejections)
            return stored

    async def rejected(self, *, limit: int, include_replayed: bool = False) -> list[KeptRejection]:
        """Rejected calls, oldest first."""
        query = select(rejected_receipts).order_by(
            rejected_receipts.c.received_at, rejected_receipts.c.id
        )
        if not include_replayed:
            query = query.where(rejected_receipts.c.replayed_at.is_(None))
        async with self._database.read() as connection:
            rows = await connection.execute(query.limit(limit))
            return [
                KeptRejection(
                    Arrival(row.id, row.received_at, row.body, row.message_hint),
                    row.http_status,
                    row.reason,
                    row.replayed_at,
                )
                for row in rows
            ]

    async def replayed(self, receipt: Receipt, at: datetime) -> None:
        """Store a receipt that was rejected once, and mark the rejected call: one transaction."""
        async with self._database.write() as connection:
            await _receive(connection, [receipt], at)
            await connection.execute(
                update(rejected_receipts)
                .where(rejected_receipts.c.id == receipt.arrival.id)
                .values(replayed_at=at)
            )


async def _receive(
    connection: AsyncConnection, receipts: Sequence[Receipt], now: datetime
) -> Stored:
    if connection.dialect.name == "sqlite":
        hints = await sqlite.receive(connection, receipts, now)
    else:
        rows = await connection.exec_driver_sql(postgresql.RECEIVE, _columns(receipts))
        hints = [(row.hint, row.sid) for row in rows]
    if not hints:
        return Stored()
    pairs = [Acceptance(message_id, sms_activity_id, now) for message_id, sms_activity_id in hints]
    bound = await bind(connection, pairs, now)
    return Stored(tuple(hint for hint in hints if hint[0] not in bound))


def _columns(receipts: Sequence[Receipt]) -> tuple[list[object], ...]:
    """The batch as one array a column, in the order that RECEIVE numbers them."""
    rows = [
        (
            r.arrival.id,
            r.sms_activity_id,
            r.digest,
            r.status,
            r.key,
            r.at,
            r.arrival.received_at,
            r.arrival.body,
            r.arrival.hint,
            r.flag,
            r.delivery_status,
            r.status_reason,
            r.receipt_timestamp,
            r.time_quality,
        )
        for r in receipts
    ]
    return tuple(list(column) for column in zip(*rows, strict=True))


async def _keep(connection: AsyncConnection, rejections: Sequence[Rejection]) -> None:
    upsert = lite.insert if connection.dialect.name == "sqlite" else pg.insert
    kept = upsert(rejected_receipts).on_conflict_do_nothing(index_elements=["id"])
    await connection.execute(
        kept,
        [
            {
                "id": rejection.arrival.id,
                "received_at": rejection.arrival.received_at,
                "http_status": rejection.http_status,
                "reason": rejection.reason,
                "body": rejection.arrival.body,
                "message_hint": rejection.arrival.hint,
            }
            for rejection in rejections
        ],
    )
