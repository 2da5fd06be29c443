"""What other transactions tell the evidence log: facts that no row remains of, and that values are
deleted. Part of the caller's transaction; without a log nothing is done.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.evidence.rows import ToldFact, told_json
from app.store.tables import evidence_facts, evidence_logs, evidence_pending


async def is_kept(connection: AsyncConnection) -> bool:
    """Whether there is a log to which facts are appended."""
    query = select(evidence_logs.c.id).where(evidence_logs.c.ended_at.is_(None)).limit(1)
    return (await connection.execute(query)).first() is not None


async def tell(connection: AsyncConnection, facts: Sequence[ToldFact]) -> None:
    """Have facts appended: an audit entry, an erasure, a purge. Their fields are JSON, without
    fractions and without ``v``, ``type``, ``log``, ``nonce``, ``number`` and ``previous``.
    """
    if facts and await is_kept(connection):
        rows = [{"fact": told_json(fact)} for fact in facts]
        await connection.execute(insert(evidence_pending), rows)


async def forget_values(
    connection: AsyncConnection, messages: Collection[UUID], sms_activity_ids: Collection[str]
) -> None:
    """Delete the salts of all commitments of these: with their values gone, nobody can tell any
    more what they were, and every proof holds as before.
    """
    subjects = [b"m" + id_.bytes for id_ in messages]
    subjects += [b"s" + name.encode() for name in sms_activity_ids]
    if subjects:
        await connection.execute(
            update(evidence_facts).where(evidence_facts.c.subject.in_(subjects)).values(salts=b"")
        )
