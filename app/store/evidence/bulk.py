"""The statements of an append that move a row for every fact.

On PostgreSQL they go by the transaction's own asyncpg connection: SQLAlchemy's rows and parameters
would cost as much as making the facts (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import and_, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.any_of import any_of
from app.store.evidence.rows import RECEIPT, Chain, NewFact
from app.store.tables import deliveries, events, evidence_facts, evidence_pending, receipts

_PENDING = """
with p as (
  delete from evidence_pending
  where id in (select id from evidence_pending order by id limit $1)
  returning id, fact, sms_activity_id, digest)
select p.id, p.fact, r.id, r.sms_activity_id, d.message_id, r.status, r.at, r.time_quality,
  r.received_at, r.body
from p
  -- by the keys, one by one, however large the tables are: a plan might read all of them
  left join lateral (
    select * from receipts r
    where r.sms_activity_id = p.sms_activity_id and r.digest = p.digest limit 1) r on true
  left join lateral (
    select message_id from deliveries d
    where d.sms_activity_id = p.sms_activity_id limit 1) d on true
order by p.id
"""
_TOLD = """
select count(*), max(id), array_agg(distinct message_id)
from (select id, message_id from events where id > $1 order by id limit $2) e
"""
_CHAINS = """
select s.subject, f.number, f.hash, f.steps, f.attached
from unnest($1::bytea[]) s(subject) cross join lateral (
  select number, hash, steps, attached from evidence_facts f
  where f.subject = s.subject order by f.number desc limit 1) f
"""


async def take_pending(connection: AsyncConnection, limit: int) -> Sequence[Any]:
    """Rows that wait, which do so no longer: id, told fact, and the columns of RECEIPT, which are
    null where that is gone.
    """
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
    rows = found.all()
    if rows:  # nobody else writes meanwhile
        await connection.execute(
            delete(evidence_pending).where(evidence_pending.c.id <= rows[-1].id)
        )
    return rows


async def read_told(
    connection: AsyncConnection, position: int, limit: int
) -> tuple[int, int, Collection[UUID]]:
    """How many events there are behind a position, the last one's id, and whose they are."""
    if driver := await _driver(connection):
        count, last, ids = await driver.fetchrow(_TOLD, position, limit)
        return count, last or position, ids or ()
    query = select(events.c.id, events.c.message_id).where(events.c.id > position)
    rows = (await connection.execute(query.order_by(events.c.id).limit(limit))).all()
    return len(rows), rows[-1].id if rows else position, {row.message_id for row in rows}


async def read_chains(
    connection: AsyncConnection, subjects: Collection[bytes]
) -> dict[bytes, Chain | NewFact]:
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


async def insert_facts(connection: AsyncConnection, facts: Sequence[NewFact]) -> None:
    """Store facts."""
    if driver := await _driver(connection):
        # By COPY: arrays for unnest cost three times as much, since each element is looked at.
        await driver.copy_records_to_table("evidence_facts", records=facts, columns=NewFact._fields)
        return
    await connection.execute(insert(evidence_facts), [fact._asdict() for fact in facts])


async def _driver(connection: AsyncConnection) -> Any:
    """asyncpg's connection in this transaction, which has begun; None on SQLite."""
    if connection.dialect.name == "sqlite":
        return None
    return (await connection.get_raw_connection()).driver_connection
