"""Erases messages to a number, with their receipts, webhook deliveries, keys and searches.

All functions are parts of a transaction of the caller's. A test classifies every text column of the
tables, and fails for a new one until that is done.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.mentions import Mentions
from app.model.search import LAST_DIGITS
from app.model.status import Status
from app.model.webhook import WebhookState, erased_payload
from app.store.erasing.keys import erase_keys
from app.store.evidence.removals import record_erasure_without_message, record_message_erasure
from app.store.outbox.attempts import attempts_of, log_of, without_responses
from app.store.outbox.deliveries import insert_pending
from app.store.rollups import REASON, hours_of, mark
from app.store.tables import (
    audit,
    deliveries,
    erased,
    erasures,
    messages,
    receipts,
    rollup_counts,
    webhook_deliveries,
    webhooks,
)
from app.store.upsert import upsert


def to_number(app: str, number: str) -> ColumnElement[bool]:
    """Matches an app's messages to a number, as their index has them."""
    return and_(messages.c.app == app, messages.c.destination == number)


async def locked(
    connection: AsyncConnection, ids: Collection[UUID]
) -> Sequence[Row[*tuple[Any, ...]]]:
    """The messages, locked after their receipts and deliveries: the order of locks everywhere.

    Without those that are queued or being sent.
    """
    this = messages.c.id.in_(ids)
    known = select(messages.c.sms_activity_id).where(this, messages.c.sms_activity_id.is_not(None))
    names = (await connection.execute(known)).scalars().all()
    for table in (receipts, deliveries):
        keys = [*table.primary_key.columns]
        these = table.c.sms_activity_id.in_(names)
        await connection.execute(select(*keys).where(these).order_by(*keys).with_for_update())
    settled = messages.c.state.not_in((Status.QUEUED, Status.SENDING))
    query = select(*messages.c).where(this, settled).order_by(messages.c.id).with_for_update()
    return (await connection.execute(query)).all()


def _mentions_of(row: Row[*tuple[Any, ...]]) -> Mentions:
    return Mentions(row.destination, [row.reference, row.message])


def _erased_values(row: Row[*tuple[Any, ...]], now: datetime) -> dict[str, Any]:
    mentions = _mentions_of(row)
    return {
        "destination": "",
        "message": "",
        "reference": None,
        "c2c_failover_link_id": None,
        "errors": mentions.erased_from_json(row.errors) if row.errors else None,
        "steps": mentions.erased_from_json(row.steps) if row.steps else None,
        "erased_at": now,
    }


async def erase_receipts(connection: AsyncConnection, of: Mapping[str, Mentions]) -> int:
    """Empty the bodies of receipts, by sms_activity_id; returns how many.

    Their other fields stay, unless one mentions what is erased: then that field goes.
    """
    column = receipts.c
    these = column.sms_activity_id.in_(of)
    texts = (column.status, column.delivery_status, column.status_reason, column.receipt_timestamp)
    query = select(column.sms_activity_id, column.digest, *texts).where(these)
    for row in (await connection.execute(query)).all():
        mentions = of[row.sms_activity_id]
        quoting: dict[str, Any] = {
            each.name: None for each in texts if mentions.are_in(getattr(row, each.name))
        }
        if "status" in quoting:
            quoting["status"] = Status.UNKNOWN
        if quoting:
            this = (column.sms_activity_id == row.sms_activity_id) & (column.digest == row.digest)
            await connection.execute(update(receipts).where(this).values(quoting))
    await _erase_reasons(connection, of)
    dropped = update(receipts).where(these, func.length(column.body) > 0).values(body=b"")
    return (await connection.execute(dropped)).rowcount


async def _erase_reasons(connection: AsyncConnection, of: Mapping[str, Mentions]) -> None:
    """Erase reasons of deliveries, which statistics count by, where they mention what is erased."""
    column = deliveries.c
    query = select(column.sms_activity_id, column.message_id, column.reason).where(
        column.sms_activity_id.in_(of), column.reason.is_not(None)
    )
    hours: set[int] = set()
    for row in (await connection.execute(query)).all():
        if of[row.sms_activity_id].are_in(row.reason):
            this = column.sms_activity_id == row.sms_activity_id
            await connection.execute(update(deliveries).where(this).values(reason=None))
            counted = (rollup_counts.c.kind == REASON) & (rollup_counts.c.key == row.reason)
            await connection.execute(delete(rollup_counts).where(counted))
            hours |= set(hours_of(row.message_id)) if row.message_id else set()
    await mark(connection, hours)


async def _erase_deliveries(
    connection: AsyncConnection, rows: Sequence[Row[*tuple[Any, ...]]]
) -> int:
    """Erase references from the bodies of webhook deliveries, sent or pending, and drop receivers'
    responses, which may quote anything. Returns how many deliveries were changed.
    """
    column = webhook_deliveries.c
    by_id = {row.id: row for row in rows}
    deliveries_left = await connection.execute(
        select(column.id, column.message_id, column.body, column.error, column.attempt_log)
        .where(column.message_id.in_(by_id))
        .order_by(column.id)
        .with_for_update()
    )
    count = 0
    for one in deliveries_left.all():
        body = json.loads(one.body)
        mentions = _mentions_of(by_id[one.message_id])
        error = one.error and mentions.erased_from(one.error)
        attempts = attempts_of(one.attempt_log)
        left = [
            replace(each, error=each.error and mentions.erased_from(each.error))
            for each in without_responses(attempts)
        ]
        is_clean = error == one.error and left == [*attempts]
        if body.get("data", {}).get("reference") is None and is_clean:
            continue
        if "reference" in body.get("data", {}):
            body["data"]["reference"] = None
        count += 1
        await connection.execute(
            update(webhook_deliveries)
            .where(column.id == one.id)
            .values(body=json.dumps(body), error=error, attempt_log=log_of(left))
        )
    return count


async def _add_erased_deliveries(
    connection: AsyncConnection, rows: Sequence[Row[*tuple[Any, ...]]], now: datetime
) -> None:
    """Add `message.erased` to the outbox of webhooks that may have got events of these messages."""
    apps = {row.app for row in rows}
    column = webhooks.c
    of_them = or_(column.app.is_(None), column.app.in_(apps))
    query = select(column.id, column.app).where(of_them, column.state != WebhookState.ENDED)
    for webhook in (await connection.execute(query)).all():
        payloads = [
            erased_payload(row.id, row.sms_activity_id, now)
            for row in rows
            if webhook.app in (None, row.app)
        ]
        if payloads:
            await insert_pending(connection, webhook.id, payloads, now)


async def _erase_references(connection: AsyncConnection, references: Collection[str]) -> set[UUID]:
    """Erase references, and beginnings of them, from searches; returns the audit entries' ids."""
    if not references:
        return set()
    parts = {part for reference in references for part in _beginnings(reference)}
    entries = update(audit).where(audit.c.reference.in_(parts)).returning(audit.c.id)
    changed = await connection.execute(entries.values(reference=None, once=None))
    return set(changed.scalars())


async def note_erased(
    connection: AsyncConnection, found: Mapping[UUID, str | None], now: datetime
) -> None:
    """Note ids of what is erased, with the sms_activity_id where there is one: after a restore
    everything is erased once more by these.
    """
    if not found:
        return
    new = upsert(connection, erased)
    await connection.execute(
        new.on_conflict_do_update(
            index_elements=["id"],
            set_={"sms_activity_id": new.excluded.sms_activity_id, "erased_at": now},
        ),
        [
            {"id": id_, "sms_activity_id": sms_activity_id, "erased_at": now}
            for id_, sms_activity_id in sorted(found.items())
        ],
    )


async def count(connection: AsyncConnection, erasure_id: UUID, found: Mapping[str, int]) -> None:
    """Add to an erasure's counts, in the transaction of what is counted."""
    if not any(found.values()):
        return
    this = erasures.c.id == erasure_id
    stored = select(erasures.c.counts).where(this).with_for_update()
    counts = json.loads((await connection.execute(stored)).scalar_one())
    counts |= {name: counts.get(name, 0) + number for name, number in found.items()}
    await connection.execute(update(erasures).where(this).values(counts=json.dumps(counts)))


async def erase_all(
    connection: AsyncConnection, rows: Sequence[Row[*tuple[Any, ...]]], now: datetime
) -> dict[str, int]:
    """Erase messages that the caller has locked, with all that belongs to them; returns how many
    rows of each kind were erased.
    """
    of = {row.sms_activity_id: _mentions_of(row) for row in rows if row.sms_activity_id}
    bodies = await erase_receipts(connection, of)
    for row in rows:
        await connection.execute(
            update(messages).where(messages.c.id == row.id).values(_erased_values(row, now))
        )
    erased_deliveries = await _erase_deliveries(connection, rows)
    await _add_erased_deliveries(connection, rows, now)
    references = {row.reference for row in rows if row.reference is not None}
    searches = await _erase_references(connection, references)
    keys = await erase_keys(connection, {row.id: _mentions_of(row) for row in rows}, rows)
    gone = {row.id: row.sms_activity_id for row in rows}
    await note_erased(connection, gone | dict.fromkeys([*searches, *keys]), now)
    await record_message_erasure(connection, rows)
    await record_erasure_without_message(connection, entries=searches)
    return {
        "messages": len(rows),
        "receipts": bodies,
        "webhook_deliveries": erased_deliveries,
        "idempotency_keys": len(keys),
        "audit_entries": len(searches),
    }


def _beginnings(reference: str) -> Iterator[str]:
    """The reference, and its beginnings that are long enough to identify it in a search."""
    for length in range(max(LAST_DIGITS, len(reference) // 2), len(reference) + 1):
        yield reference[:length]
