"""The statements of an append that move a row for every fact.

On PostgreSQL they go by the transaction's own asyncpg connection: SQLAlchemy's rows and parameters
would cost as much as making the facts (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import and_, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.any_of import any_of
from app.store.evidence.rows import RECEIPT, Chain, NewFact
from app.store.tables import deliveries, evidence_facts, evidence_pending, receipts

_PENDING = """
select p.id, p.fact, r.id, r.sms_activity_id, d.message_id, r.status, r.at, r.time_quality,
  r.received_at, r.delivery_status, r.status_reason, r.receipt_timestamp, r.body
from (select * from evidence_pending order by id limit $1) p
  left join receipts r on r.sms_activity_id = p.sms_activity_id and r.digest = p.digest
  left join deliveries d on d.sms_activity_id = p.sms_activity_id
order by p.id
"""
_CHAINS = """
select s.subject, f.number, f.hash, f.steps, f.attached
from unnest($1::bytea[]) s(subject) cross join lateral (
  select number, hash, steps, attached from evidence_facts f
  where f.subject = s.subject order by f.number desc limit 1) f
"""
_COLUMNS = ("log", "idx", "subject", "number", "hash", "fact", "salts", "steps", "attached")
_DELETE = "delete from evidence_pending where id = any($1::bigint[])"


async def read_pending(connection: AsyncConnection, limit: int) -> Sequence[Any]:
    """Rows of id, told fact, and the columns of RECEIPT, which are null where that is gone."""
    if driver := await _driver(connection):
        rows: Sequence[Any] = await driver.fetch(_PENDING, limit)
        return rows
    of_receipt = and_(
        receipts.c.sms_activity_id == evidence_pending.c.sms_activity_id,
        receipts.c.digest == evidence_pending.c.digest,
    )
    of_delivery = deliveries.c.sms_activity_id == evidence_pending.c.sms_activity_id
    found = await connection.execute(
        select(evidence_pending.c.id, evidence_pending.c.fact, *RECEIPT)
        .select_from(evidence_pending)
        .outerjoin(receipts, of_receipt)
        .outerjoin(deliveries, of_delivery)
        .order_by(evidence_pending.c.id)
        .limit(limit)
    )
    return found.all()


async def read_chains(
    connection: AsyncConnection, subjects: Collection[bytes]
) -> dict[bytes, Chain]:
    """The last fact of each subject that has any."""
    if not subjects:
        return {}
    if driver := await _driver(connection):
        rows: Sequence[Any] = await driver.fetch(_CHAINS, list(subjects))
    else:
        facts = evidence_facts.c
        of_these = any_of(facts.subject, "subjects", is_sqlite=True)
        last = select(facts.subject, func.max(facts.number).label("number")).where(of_these)
        newest = last.group_by(facts.subject).subquery()
        columns = (facts.subject, facts.number, facts.hash, facts.steps, facts.attached)
        query = select(*columns).join(
            newest, and_(facts.subject == newest.c.subject, facts.number == newest.c.number)
        )
        rows = (await connection.execute(query, {"subjects": list(subjects)})).all()
    return {row[0]: Chain(row[1], row[2], row[3], row[4]) for row in rows}


async def insert_facts(
    connection: AsyncConnection, log: int, first: int, facts: Sequence[NewFact]
) -> None:
    """Store facts as the leaves from ``first`` on."""
    rows = [(log, index, *fact) for index, fact in enumerate(facts, start=first)]
    if driver := await _driver(connection):
        # By COPY: arrays for unnest cost three times as much, since each element is looked at.
        await driver.copy_records_to_table("evidence_facts", records=rows, columns=_COLUMNS)
        return
    named = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    await connection.execute(insert(evidence_facts), named)


async def delete_pending(connection: AsyncConnection, ids: Sequence[int]) -> None:
    """What was appended waits no longer."""
    if driver := await _driver(connection):
        await driver.execute(_DELETE, ids)
        return
    which = any_of(evidence_pending.c.id, "ids", is_sqlite=True)
    await connection.execute(delete(evidence_pending).where(which), {"ids": list(ids)})


async def _driver(connection: AsyncConnection) -> Any:
    """asyncpg's connection in this transaction, which has begun; None on SQLite."""
    if connection.dialect.name == "sqlite":
        return None
    return (await connection.get_raw_connection()).driver_connection
