"""Enqueues for the evidence log, in the caller's transaction: facts of what leaves no row to make
them from later, and receipts that no event names. Without an open log nothing is enqueued.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.evidence.rows import AUDITED, PendingFact, pending_fact_json
from app.store.tables import evidence_logs, evidence_pending


async def enqueue(connection: AsyncConnection, facts: Sequence[PendingFact]) -> None:
    """Enqueue facts: of an audit entry, an erasure, a purge. Their ``fields`` are JSON, without
    fractions and without ``v``, ``type``, ``log``, ``nonce``, ``number`` and ``previous``.
    """
    if facts and await _is_log_open(connection):
        rows = [{"fact": pending_fact_json(fact)} for fact in facts]
        await connection.execute(insert(evidence_pending), rows)


async def enqueue_entries(connection: AsyncConnection, ids: Iterable[UUID]) -> None:
    """Enqueue entries of the audit by their ids alone, so that the queue has no personal data. An
    id that is enqueued twice, or whose entry is gone when it is appended, yields no further fact.
    """
    await enqueue(connection, [PendingFact(None, AUDITED, {"entry": str(id_)}) for id_ in ids])


async def enqueue_receipts(connection: AsyncConnection, keys: Sequence[tuple[str, bytes]]) -> None:
    """Enqueue new receipts that cause no event, by sms_activity_id and digest; the log finds
    the others by their events. On PostgreSQL it is a part of RECEIVE.
    """
    if keys and await _is_log_open(connection):
        rows = [{"sms_activity_id": name, "digest": digest} for name, digest in keys]
        await connection.execute(insert(evidence_pending), rows)


async def _is_log_open(connection: AsyncConnection) -> bool:
    """Whether there is a log that has not ended."""
    query = select(evidence_logs.c.id).where(evidence_logs.c.ended_at.is_(None)).limit(1)
    return (await connection.execute(query)).first() is not None
