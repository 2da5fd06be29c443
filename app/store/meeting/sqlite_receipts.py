"""Stores receipts in SQLite: each once, its repetitions counted. The first part of RECEIVE there.

The caller's transaction excludes every other writer, so rows are read, decided on and written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.receipt import Arrival, Receipt
from app.store.meeting.postgresql import MOST_ARRIVALS_KEPT
from app.store.tables import erased, receipts

PrimaryKey = tuple[str, bytes]
"""Of `receipts`: sms_activity_id and digest."""


@dataclass(slots=True)
class _Arrivals:
    """The arrivals of one receipt, as they are stored or are about to be."""

    id: UUID
    also: list[str]
    times_seen: int
    received_at: datetime
    is_changed: bool = False

    def count(self, arrival: Arrival) -> None:
        """Count one more arrival, unless it was counted already, as at a replay of the spool."""
        again = str(arrival.id)
        if arrival.id == self.id or again in self.also:
            return
        self.also = sorted([*self.also, again], reverse=True)[:MOST_ARRIVALS_KEPT]
        self.times_seen += 1
        # One that is replayed from a spool may have arrived earlier.
        self.received_at = min(self.received_at, arrival.received_at)
        self.is_changed = True

    def columns(self) -> dict[str, object]:
        return {
            "also": json.dumps(self.also) if self.also else None,
            "times_seen": self.times_seen,
            "received_at": self.received_at,
        }


async def store(connection: AsyncConnection, batch: Sequence[Receipt]) -> list[Receipt]:
    """Insert the receipts, or count them as repetitions; returns the new ones, in their order.

    Each statement is a switch of threads, so a batch takes as many statements as one receipt, plus
    one update for each receipt that is repeated.
    """
    stored = await _stored(connection, batch)
    new: list[Receipt] = []
    for receipt in batch:
        if (known := stored.get(primary_key(receipt))) is not None:
            known.count(receipt.arrival)
        else:
            arrival = receipt.arrival
            stored[primary_key(receipt)] = _Arrivals(arrival.id, [], 1, arrival.received_at)
            new.append(receipt)
    rows = [_columns(receipt) | stored.pop(primary_key(receipt)).columns() for receipt in new]
    if rows:
        await connection.execute(insert(receipts), rows)
        await _drop_bodies_of_erased(connection, {receipt.sms_activity_id for receipt in new})
    for (sms_activity_id, digest), arrivals in stored.items():
        if arrivals.is_changed:
            this = (receipts.c.sms_activity_id == sms_activity_id) & (receipts.c.digest == digest)
            await connection.execute(update(receipts).where(this).values(**arrivals.columns()))
    return new


async def _stored(
    connection: AsyncConnection, batch: Sequence[Receipt]
) -> dict[PrimaryKey, _Arrivals]:
    """Those of these receipts that are stored already."""
    keys = tuple_(receipts.c.sms_activity_id, receipts.c.digest)
    found = await connection.execute(
        select(
            receipts.c.sms_activity_id,
            receipts.c.digest,
            receipts.c.id,
            receipts.c.also,
            receipts.c.times_seen,
            receipts.c.received_at,
        ).where(keys.in_([primary_key(receipt) for receipt in batch]))
    )
    return {
        (row.sms_activity_id, row.digest): _Arrivals(
            row.id, json.loads(row.also) if row.also else [], row.times_seen, row.received_at
        )
        for row in found
    }


async def _drop_bodies_of_erased(connection: AsyncConnection, ids: set[str]) -> None:
    """Empty the bodies of receipts of erased messages, before they are ever committed."""
    gone = select(erased.c.sms_activity_id).where(erased.c.sms_activity_id.in_(ids))
    await connection.execute(
        update(receipts).where(receipts.c.sms_activity_id.in_(gone)).values(body=b"")
    )


def primary_key(receipt: Receipt) -> PrimaryKey:
    """Of its row: sms_activity_id and digest."""
    return receipt.sms_activity_id, receipt.content.digest


def _columns(receipt: Receipt) -> dict[str, object]:
    content = receipt.content
    return {
        "id": receipt.arrival.id,
        "sms_activity_id": receipt.sms_activity_id,
        "digest": content.digest,
        "status": content.status,
        "status_key": content.key,
        "delivery_status": content.delivery_status,
        "status_reason": content.status_reason,
        "receipt_timestamp": content.receipt_timestamp,
        "at": content.at,
        "time_quality": content.time_quality,
        "body": receipt.arrival.body,
        "message_hint": receipt.arrival.hint,
    }
