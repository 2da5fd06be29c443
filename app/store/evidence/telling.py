"""What other transactions tell the evidence log: facts that no row remains of, and that values are
deleted. Part of the caller's transaction; without a log nothing is done.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.evidence.rows import ToldFact, told_json
from app.store.tables import evidence_facts, evidence_logs, evidence_pending

_SALT = 32
"""Bytes of one salt."""


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


async def tell_of_erasure(connection: AsyncConnection, rows: Sequence[Any]) -> None:
    """Messages were erased: rows with id and sms_activity_id."""
    ids = [row.id for row in rows]
    names = [row.sms_activity_id for row in rows if row.sms_activity_id is not None]
    await forget_values(connection, ids, names)
    await tell(connection, [ToldFact(id_, "erased", {}) for id_ in ids])


async def tell_of_purge(
    connection: AsyncConnection,
    messages: Collection[UUID],
    sms_activity_ids: Collection[str],
    before: datetime,
) -> None:
    """Messages, or receipts of nobody, were deleted, since they are older than ``before``."""
    if messages or sms_activity_ids:
        await forget_values(connection, messages, sms_activity_ids)
        await tell(connection, [ToldFact(None, "purged", {"before": _time_text(before)})])


async def tell_of_lost_texts(
    connection: AsyncConnection, messages: Collection[UUID], before: datetime
) -> None:
    """The texts of messages were dropped, since they are older than ``before``."""
    facts = evidence_facts.c
    subjects = [b"m" + id_.bytes for id_ in messages]
    query = select(facts.log, facts.idx, facts.salts).where(
        facts.subject.in_(subjects), facts.number == 1
    )
    rows = [row for row in await connection.execute(query) if row.salts]
    if rows:
        # The second of the salts is that of the text (``app.record.evidence.form.COMMITTED``).
        of_this = (facts.log == bindparam("of_log")) & (facts.idx == bindparam("of_idx"))
        await connection.execute(
            update(evidence_facts).where(of_this).values(salts=bindparam("left")),
            [
                {
                    "of_log": row.log,
                    "of_idx": row.idx,
                    "left": row.salts[:_SALT] + bytes(_SALT) + row.salts[2 * _SALT :],
                }
                for row in rows
            ],
        )
    await tell(connection, [ToldFact(None, "texts_purged", {"before": _time_text(before)})])


def _time_text(moment: datetime) -> str:
    """As facts write times."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
