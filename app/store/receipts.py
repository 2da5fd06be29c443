"""Stores receipts and rejected calls. A batch is one transaction: all of it is stored, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import DivisionByZeroError
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.audit import Entry
from app.model.message import Acceptance
from app.model.receipt import Arrival, Receipt, Rejection
from app.model.status import microseconds
from app.store.audit import append
from app.store.engine import Database
from app.store.meeting import postgresql, sqlite
from app.store.meeting.binding import bind, bind_directly
from app.store.tables import rejected_receipts
from app.store.upsert import upsert

Rows = list[tuple[object, ...]]
Hint = tuple[UUID, str]
"""The id of a message as the header X-Message-Id of a receipt names it, and the receipt's
sms_activity_id."""


@dataclass(frozen=True, slots=True)
class KeptRejection:
    """A rejected call as it is stored."""

    arrival: Arrival
    http_status: int
    reason: str
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Stored:
    """The outcome of a batch: hints by which no message was bound."""

    ignored_hints: tuple[Hint, ...] = ()


class ReceiptStore:
    """Receipts and rejected calls.

    Guarantee: when ``add`` returns, the batch is committed. When it raises, it is unknown whether
    the batch was, and adding it again is harmless, since arrivals are identified by their ids.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, receipts: Sequence[Receipt], rejections: Sequence[Rejection]) -> Stored:
        """Store a batch, raise statuses, write events, bind messages by hints: one transaction.

        Raises StoreUnavailable or StoreRefused.
        """
        now = self._database.clock.now()
        if receipts and not rejections and not self._database.is_sqlite:
            return await self._add_directly(receipts, now)
        async with self._database.write() as connection:
            stored = Stored()
            if receipts:
                stored = await _receive(connection, receipts, now)
            if rejections:
                await _insert_rejections(connection, rejections)
            return stored

    async def _add_directly(self, receipts: Sequence[Receipt], now: datetime) -> Stored:
        """The usual batch, by an asyncpg connection: SQLAlchemy would double its cost."""
        rows = _rows(receipts)
        ids = {receipt.sms_activity_id for receipt in receipts}
        statement = (
            postgresql.RECEIVE_DISTINCT_IDS
            if len(ids) == len(receipts)
            else postgresql.RECEIVE_WITHOUT_BIND
        )
        async with self._database.direct() as connection:
            with suppress(DivisionByZeroError):  # raised where BIND has something to do
                await connection.execute(statement, rows)
                return Stored()
            return await self._add_and_bind(connection, rows, now)

    async def _add_and_bind(self, connection: Any, rows: Rows, now: datetime) -> Stored:
        async with connection.transaction():
            needed = await connection.fetch(postgresql.RECEIVE, rows)
            hints = [(row["hint"], row["sid"]) for row in needed]
            bound = await bind_directly(connection, _acceptances(hints, now)) if hints else {}
        return _stored(hints, bound)

    async def rejected(
        self, *, limit: int, after: UUID | None = None, include_replayed: bool = False
    ) -> list[KeptRejection]:
        """Up to ``limit`` rejected calls with ids above ``after``, in the order of arrival."""
        query = select(rejected_receipts).order_by(rejected_receipts.c.id)
        if after is not None:
            query = query.where(rejected_receipts.c.id > after)
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

    async def replayed(self, receipt: Receipt, at: datetime, *, entry: Entry | None = None) -> None:
        """Store a receipt from a rejected call, and mark that as replayed: one transaction.

        ``entry`` is the audit's. Raises StoreUnavailable or StoreRefused.
        """
        async with self._database.write() as connection:
            await _receive(connection, [receipt], at)
            await connection.execute(
                update(rejected_receipts)
                .where(rejected_receipts.c.id == receipt.arrival.id)
                .values(replayed_at=at)
            )
            await append(connection, [entry])


async def _receive(
    connection: AsyncConnection, receipts: Sequence[Receipt], now: datetime
) -> Stored:
    if connection.dialect.name == "sqlite":
        hints = await sqlite.receive(connection, receipts, now)
    else:
        rows = await connection.exec_driver_sql(postgresql.RECEIVE, (_rows(receipts),))
        hints = [(row.hint, row.sid) for row in rows]
    bound = await bind(connection, _acceptances(hints, now), now) if hints else {}
    return _stored(hints, bound)


def _acceptances(hints: Sequence[Hint], now: datetime) -> list[Acceptance]:
    return [Acceptance(message_id, sms_activity_id, now) for message_id, sms_activity_id in hints]


def _stored(hints: Sequence[Hint], bound: Mapping[UUID, str]) -> Stored:
    return Stored(tuple(hint for hint in hints if bound.get(hint[0]) != hint[1]))


def _rows(receipts: Sequence[Receipt]) -> Rows:
    """The batch as the parameter of RECEIVE."""
    return [
        (
            arrival.id,
            sms_activity_id,
            content.digest,
            content.status,
            content.key,
            content.at_microseconds,
            microseconds(arrival.received_at),
            arrival.body,
            arrival.hint,
            content.flag,
            content.delivery_status,
            content.status_reason,
            content.receipt_timestamp,
            content.time_quality,
        )
        for arrival, sms_activity_id, content in receipts
    ]


async def _insert_rejections(connection: AsyncConnection, rejections: Sequence[Rejection]) -> None:
    await connection.execute(
        upsert(connection, rejected_receipts).on_conflict_do_nothing(index_elements=["id"]),
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
