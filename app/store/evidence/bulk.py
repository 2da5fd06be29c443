"""The statements of an append that read or write a row for each fact.

On PostgreSQL they use the transaction's asyncpg connection directly: SQLAlchemy's rows and
parameters would cost as much as making the facts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import and_, delete, func, insert, null, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.any_of import any_of
from app.store.evidence.receipt_facts import EventBatch, write_receipts
from app.store.evidence.rows import RECEIPT, Chain, LogRow, NewFact
from app.store.tables import deliveries, events, evidence_facts, evidence_pending, receipts

# $1: the most rows, $2 and $3: sms_activity_id and digest of receipts that events name.
_PENDING = """
with p as (
  -- up to the limit-th id: a row with a smaller id may be committed later, and is taken then
  delete from evidence_pending
  where id <= (select max(id) from (select id from evidence_pending order by id limit $1) first)
  returning id, fact, sms_activity_id, digest),
w as materialized (
  select * from p
  union all
  select null, null, sid, digest from unnest($2::text[], $3::bytea[]) named(sid, digest))
select w.id, w.fact, r.id, r.sms_activity_id, d.message_id, r.status, r.at, r.time_quality,
  r.received_at, r.body
from w
  -- lateral: an index lookup for each key; a join might be planned as a scan of all receipts
  left join lateral (
    select * from receipts r
    where r.sms_activity_id = w.sms_activity_id and r.digest = w.digest limit 1) r on true
  left join lateral (
    select message_id from deliveries d
    where d.sms_activity_id = w.sms_activity_id limit 1) d on true
order by r.received_at, r.id, w.id
"""
_RECEIPT_ID = 2
"""The index of the receipt's id in what ``take_pending`` returns."""
_CHAINS = """
select s.subject, f.number, f.hash, f.steps, f.attached
from unnest($1::bytea[]) s(subject) cross join lateral (
  select number, hash, steps, attached from evidence_facts f
  where f.subject = s.subject order by f.number desc limit 1) f
"""


async def take_events(
    connection: AsyncConnection, log: LogRow, *, origin: str, limit: int, random: bytes
) -> EventBatch:
    """The first ``limit`` events behind the log's position. On PostgreSQL the facts of most of
    their receipts are stored by the same statement (``write_receipts``).

    ``origin`` is JSON; ``random``: RANDOM_SIZE bytes for each of ``limit``.
    """
    if driver := await _driver(connection):
        return await write_receipts(
            driver,
            log=log.id,
            size=log.size,
            origin=origin,
            position=log.position,
            limit=limit,
            random=random,
        )
    query = select(
        events.c.id, events.c.message_id, events.c.sms_activity_id, events.c.digest
    ).where(events.c.id > log.position)
    rows = (await connection.execute(query.order_by(events.c.id).limit(limit))).all()
    return EventBatch(
        events=len(rows),
        position=rows[-1].id if rows else log.position,
        leaves=b"",
        messages={row.message_id for row in rows},
        receipts=[(row.sms_activity_id, row.digest) for row in rows if row.digest is not None],
    )


async def take_pending(
    connection: AsyncConnection, named: Sequence[tuple[str, bytes]], limit: int
) -> tuple[int, Sequence[Any]]:
    """Dequeue the first ``limit`` rows of ``evidence_pending``: how many there were, and a row for
    each and for each receipt in ``named`` (sms_activity_id and digest).

    A row is: the id in the queue and the enqueued fact (both null for ``named``), and the columns
    of RECEIPT, which are null where there is no such receipt. Receipts are in the order of their
    arrival.
    """
    if driver := await _driver(connection):
        names, digests = [one[0] for one in named], [one[1] for one in named]
        rows: Sequence[Any] = await driver.fetch(_PENDING, limit, names, digests)
        return sum(row[0] is not None for row in rows), rows
    of_receipt = and_(
        receipts.c.sms_activity_id == evidence_pending.c.sms_activity_id,
        receipts.c.digest == evidence_pending.c.digest,
    )
    of_delivery = deliveries.c.sms_activity_id == receipts.c.sms_activity_id
    found = await connection.execute(
        select(evidence_pending.c.id, evidence_pending.c.fact, *RECEIPT)
        .select_from(evidence_pending)
        .outerjoin(receipts, of_receipt)
        .outerjoin(deliveries, of_delivery)
        .order_by(evidence_pending.c.id)
        .limit(limit)
    )
    pending = found.all()
    if pending:  # SQLite has one writer at a time: no row came in between
        await connection.execute(
            delete(evidence_pending).where(evidence_pending.c.id <= pending[-1].id)
        )
    these = tuple_(receipts.c.sms_activity_id, receipts.c.digest).in_(named)
    of_events = await connection.execute(
        select(null(), null(), *RECEIPT).outerjoin(deliveries, of_delivery).where(these)
    )
    others = [row for row in pending if row[_RECEIPT_ID] is None]
    of_receipts = [row for row in pending if row[_RECEIPT_ID] is not None] + [*of_events.all()]
    of_receipts.sort(key=lambda row: (row.received_at, row[_RECEIPT_ID]))
    return len(pending), of_receipts + others


async def read_chains(
    connection: AsyncConnection, subjects: Collection[bytes]
) -> dict[bytes, Chain | NewFact]:
    """The ends of the chains of these subjects; a subject without a fact is left out."""
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
        # COPY: as arrays for unnest they cost three times as much, each element being encoded.
        await driver.copy_records_to_table("evidence_facts", records=facts, columns=NewFact._fields)
        return
    await connection.execute(insert(evidence_facts), [fact._asdict() for fact in facts])


async def _driver(connection: AsyncConnection) -> Any:
    """The asyncpg connection of this transaction, which must have begun; None on SQLite."""
    if connection.dialect.name == "sqlite":
        return None
    return (await connection.get_raw_connection()).driver_connection
