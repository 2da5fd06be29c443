"""Stores receipts. A batch is one transaction: all of it is stored, or none of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import DivisionByZeroError
from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite as lite
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

Rows = list[tuple[object, ...]]
Hint = tuple[UUID, str]
"""A message of ours and its sms_activity_id, as the headers of a receipt name them."""


@dataclass(frozen=True, slots=True)
class KeptRejection:
    """A rejected call as it is stored."""

    arrival: Arrival
    http_status: int
    reason: str
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Stored:
    """The outcome of a batch: hints that could not be followed."""

    ignored_hints: tuple[Hint, ...] = ()


class ReceiptStore:
    """Receipts and rejected calls.

    Guarantee: when ``add`` returns, the batch is committed. When it raises, nothing of the batch is
    known to be stored, and adding it again is harmless, since arrivals are identified by their ids.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, receipts: Sequence[Receipt], rejections: Sequence[Rejection]) -> Stored:
        """Store a batch, raise the statuses, write the events, follow the hints: one transaction.

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
                await _keep(connection, rejections)
            return stored

    async def _add_directly(self, receipts: Sequence[Receipt], now: datetime) -> Stored:
        """The usual batch, by an asyncpg connection: SQLAlchemy would cost as much again."""
        rows = _rows(receipts)
        are_of_each_one = len({receipt.sms_activity_id for receipt in receipts}) == len(receipts)
        statement = (
            postgresql.RECEIVE_ALONE_OF_EACH_ONE if are_of_each_one else postgresql.RECEIVE_ALONE
        )
        async with self._database.direct() as connection:
            with suppress(DivisionByZeroError):
                await connection.execute(statement, rows)
                return Stored()
            return await self._add_and_bind(connection, rows, now)

    async def _add_and_bind(self, connection: Any, rows: Rows, now: datetime) -> Stored:
        async with connection.transaction():
            needed = await connection.fetch(postgresql.RECEIVE, rows)
            hints = [(row["hint"], row["sid"]) for row in needed]
            bound = await bind_directly(connection, _acceptances(hints, now)) if hints else {}
        return _ignoring(hints, bound)

    async def rejected(
        self, *, limit: int, after: UUID | None = None, include_replayed: bool = False
    ) -> list[KeptRejection]:
        """Rejected calls, oldest first: their ids sort by arrival."""
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
        """Store a receipt that was rejected, and mark the rejected call: one transaction.

        ``entry`` is the audit's.
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
    return _ignoring(hints, bound)


def _acceptances(hints: Sequence[Hint], now: datetime) -> list[Acceptance]:
    return [Acceptance(message_id, sms_activity_id, now) for message_id, sms_activity_id in hints]


def _ignoring(hints: Sequence[Hint], bound: Mapping[UUID, str]) -> Stored:
    return Stored(tuple(hint for hint in hints if bound.get(hint[0]) != hint[1]))


def _rows(receipts: Sequence[Receipt]) -> Rows:
    """The batch as the parameter of RECEIVE."""
    return [
        (
            call.id,
            sms_activity_id,
            m.digest,
            m.status,
            m.key,
            m.at_microseconds,
            microseconds(call.received_at),
            call.body,
            call.hint,
            m.flag,
            m.delivery_status,
            m.status_reason,
            m.receipt_timestamp,
            m.time_quality,
        )
        for call, sms_activity_id, m in receipts
    ]


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
