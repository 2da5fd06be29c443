"""The places where something of a message can be, and how it is erased from each.

All functions are parts of a transaction of the caller's. A test fails for a text column of the
tables that is classified in none of its lists.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, func, or_, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite as lite
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.mentions import Mentions
from app.model.search import LAST_DIGITS
from app.model.status import Status
from app.model.webhook import WebhookState, erased_payload
from app.store.evidence.telling import tell_of_erased_elsewhere, tell_of_erasure
from app.store.outbox.deliveries import insert_pending
from app.store.tables import (
    audit,
    deliveries,
    erased,
    idempotency_keys,
    messages,
    receipts,
    rejected_receipts,
    webhook_deliveries,
    webhooks,
)


def to_number(app: str, number: str) -> ColumnElement[bool]:
    """Matches an app's messages to a number, as their index has them."""
    return and_(messages.c.app == app, messages.c.destination == number)


async def locked(
    connection: AsyncConnection, ids: Collection[UUID]
) -> Sequence[Row[*tuple[Any, ...]]]:
    """The messages, locked after their receipts and deliveries: the order of locks everywhere.

    Without those that are being sent.
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


def _erased_values(row: Row[*tuple[Any, ...]], now: datetime) -> dict[str, Any]:
    words = [word for word in (row.reference, row.message) if word]
    mentions = Mentions(row.destination, words)
    return {
        "destination": "",
        "message": "",
        "reference": None,
        "c2c_failover_link_id": None,
        "errors": mentions.erased_from_json(row.errors) if row.errors else None,
        "steps": mentions.erased_from_json(row.steps) if row.steps else None,
        "erased_at": now,
    }


async def erase_receipts(
    connection: AsyncConnection, names: Sequence[str], mentions: Mentions
) -> int:
    """Drop bodies; words of iovox's stay, unless they mention the number."""
    if not names:
        return 0
    column = receipts.c
    these = column.sms_activity_id.in_(names)
    like = f"%{mentions.national}%"
    for each in (column.delivery_status, column.status_reason, column.receipt_timestamp):
        await connection.execute(
            update(receipts).where(these, each.like(like)).values({each.name: None})
        )
    dropped = update(receipts).where(these, func.length(column.body) > 0).values(body=b"")
    return (await connection.execute(dropped)).rowcount


async def _erase_deliveries(
    connection: AsyncConnection, rows: Sequence[Row[*tuple[Any, ...]]]
) -> int:
    """Take the references out of what webhooks were told, or are about to be."""
    column = webhook_deliveries.c
    by_id = {row.id: row for row in rows}
    deliveries_left = await connection.execute(
        select(column.id, column.message_id, column.body, column.error).where(
            column.message_id.in_(by_id)
        )
    )
    count = 0
    for one in deliveries_left.all():
        body = json.loads(one.body)
        row = by_id[one.message_id]
        mentions = Mentions(row.destination, [row.reference] if row.reference else [])
        error = one.error and mentions.erased_from(one.error)
        if body.get("data", {}).get("reference") is None and error == one.error:
            continue
        if "reference" in body.get("data", {}):
            body["data"]["reference"] = None
        count += 1
        await connection.execute(
            update(webhook_deliveries)
            .where(column.id == one.id)
            .values(body=json.dumps(body), error=error)
        )
    return count


async def _tell(
    connection: AsyncConnection, rows: Sequence[Row[*tuple[Any, ...]]], now: datetime
) -> None:
    """Tell the webhooks that may have been told of these messages that they are erased."""
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


async def _erase_keys(
    connection: AsyncConnection,
    ids: Sequence[UUID],
    references: Collection[str],
    mentions: Mentions,
) -> int:
    """Delete the idempotency keys of erased messages that are their references or the number: the
    others tell nothing, and keep a repeated request from becoming a second text.
    """
    column = idempotency_keys.c
    tells = or_(column.key.in_(references), column.key.like(f"%{mentions.national}%"))
    theirs = column.message_id.in_(ids) & tells
    return (await connection.execute(delete_from(idempotency_keys).where(theirs))).rowcount


async def erase_answers(connection: AsyncConnection, mentions: Mentions, like: str) -> int:
    """Erase idempotency keys that are the number, and answers to batches that quote it."""
    column = idempotency_keys.c
    gone = await connection.execute(delete_from(idempotency_keys).where(column.key.like(like)))
    count = gone.rowcount
    query = select(column.app, column.key, column.answer).where(column.answer.like(like))
    for row in (await connection.execute(query)).all():
        await connection.execute(
            update(idempotency_keys)
            .where(column.app == row.app, column.key == row.key)
            .values(answer=mentions.erased_from_json(row.answer))
        )
        count += 1
    return count


async def erase_searches(
    connection: AsyncConnection, number: str, mentions: Mentions, like: str
) -> set[UUID]:
    """Erase the number from what was searched for, and from other details of the audit; returns the
    ids of the entries.
    """
    column = audit.c
    # Who searched for the last digits searched for this number, too.
    parts = [number[-length:] for length in range(LAST_DIGITS, len(number) + 1)]
    searched = update(audit).where(column.destination.in_(parts)).returning(column.id)
    changed = await connection.execute(searched.values(destination=None, once=None))
    found = set(changed.scalars())
    query = select(column.id, column.details).where(column.details.like(like))
    for row in (await connection.execute(query)).all():
        details = mentions.erased_from_json(row.details)
        this = update(audit).where(column.id == row.id)
        await connection.execute(this.values(details=details, once=None))
        found.add(row.id)
    return found


async def note_erased(
    connection: AsyncConnection, found: Mapping[UUID, str | None], now: datetime
) -> None:
    """Note ids of what is erased, with iovox's where there is one."""
    if not found:
        return
    new = _insert(connection, erased)
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


async def erase_all(
    connection: AsyncConnection,
    number: str,
    rows: Sequence[Row[*tuple[Any, ...]]],
    now: datetime,
) -> dict[str, int]:
    """Erase messages that the caller has locked, and all that hangs on them; what was erased."""
    ids = [row.id for row in rows]
    names = [row.sms_activity_id for row in rows if row.sms_activity_id is not None]
    references = {row.reference for row in rows if row.reference is not None}
    mentions = Mentions(number)
    bodies = await erase_receipts(connection, names, mentions)
    for row in rows:
        await connection.execute(
            update(messages).where(messages.c.id == row.id).values(_erased_values(row, now))
        )
    await note_erased(connection, {row.id: row.sms_activity_id for row in rows}, now)
    await tell_of_erasure(connection, rows)
    erased_deliveries = await _erase_deliveries(connection, rows)
    await _tell(connection, rows, now)
    searched: set[UUID] = set()
    if references:
        parts = {part for reference in references for part in _beginnings(reference)}
        entries = update(audit).where(audit.c.reference.in_(parts)).returning(audit.c.id)
        changed = await connection.execute(entries.values(reference=None, once=None))
        searched = set(changed.scalars())
        await note_erased(connection, dict.fromkeys(searched), now)
        await tell_of_erased_elsewhere(connection, entries=searched)
    return {
        "messages": len(rows),
        "receipts": bodies,
        "webhook_deliveries": erased_deliveries,
        "idempotency_keys": await _erase_keys(connection, ids, references, mentions),
        "audit_entries": len(searched),
    }


async def erase_again(
    connection: AsyncConnection, found: Mapping[UUID, str | None], now: datetime
) -> None:
    """Erase what a database that was set back has again, by the ids that were noted."""
    rows = await locked(connection, found)
    for row in rows:
        if row.erased_at is None:
            await erase_all(connection, row.destination, [row], now)
    column = receipts.c
    these = column.sms_activity_id.in_([name for name in found.values() if name is not None])
    back = update(receipts).where(these, func.length(column.body) > 0).values(body=b"")
    names = (await connection.execute(back.returning(column.sms_activity_id))).scalars().all()
    await connection.execute(
        update(rejected_receipts).where(rejected_receipts.c.id.in_(found)).values(body=b"")
    )
    searched = (audit.c.destination, audit.c.reference, audit.c.details)
    searches = update(audit).where(
        audit.c.id.in_(found), or_(*(each.is_not(None) for each in searched))
    )
    gone = searches.values(destination=None, reference=None, once=None, details=None)
    entries = (await connection.execute(gone.returning(audit.c.id))).scalars().all()
    await tell_of_erased_elsewhere(connection, sms_activity_ids=set(names), entries=entries)
    await note_erased(connection, found, now)


def _beginnings(reference: str) -> Iterator[str]:
    """The reference, and as much of it as tells which one it is, by which people search."""
    for length in range(max(LAST_DIGITS, len(reference) // 2), len(reference) + 1):
        yield reference[:length]


def _insert(connection: AsyncConnection, table: Any) -> Any:
    return (lite if connection.dialect.name == "sqlite" else pg).insert(table)
