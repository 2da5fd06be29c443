"""What other transactions tell the evidence log: facts that no row remains of, and that values are
deleted. Part of the caller's transaction; without a log nothing is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.any_of import any_of, chunks
from app.store.evidence.rows import (
    AUDITED,
    ToldFact,
    subject_of,
    subject_of_entry,
    told_json,
)
from app.store.tables import evidence_facts, evidence_logs, evidence_pending

AT_ONCE = 5_000
"""Subjects in one statement."""
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


async def tell_of_entries(connection: AsyncConnection, ids: Iterable[UUID]) -> None:
    """Entries of the audit, by their ids: what waits has nothing of a person. An id that is told
    of twice, or of which there is no entry in the end, does no harm.
    """
    await tell(connection, [ToldFact(None, AUDITED, {"entry": str(id_)}) for id_ in ids])


async def forget_values(
    connection: AsyncConnection,
    *,
    messages: Collection[UUID] = (),
    sms_activity_ids: Collection[str] = (),
    entries: Collection[UUID] = (),
) -> None:
    """Delete the salts of all commitments of these: with their values gone, nobody can tell any
    more what they were, and every proof holds as before.
    """
    subjects = [*map(subject_of, messages), *map(subject_of, sms_activity_ids)]
    subjects += map(subject_of_entry, entries)
    is_sqlite = connection.dialect.name == "sqlite"
    these = any_of(evidence_facts.c.subject, "subjects", is_sqlite=is_sqlite)
    for some in chunks(subjects, AT_ONCE):
        forgotten = update(evidence_facts).where(these).values(salts=b"")
        await connection.execute(forgotten, {"subjects": some})


async def forget_texts(connection: AsyncConnection, messages: Collection[UUID]) -> None:
    """Delete the salts of the texts of messages alone."""
    facts = evidence_facts.c
    query = select(facts.log, facts.idx, facts.salts).where(
        facts.subject.in_([subject_of(id_) for id_ in messages]), facts.number == 1
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


async def forget_what_is_gone(connection: AsyncConnection, told: Iterable[ToldFact]) -> None:
    """Delete what the transactions that told of these could not see yet: salts of facts that were
    being appended beside them.
    """
    for fact in told:
        ids = {name: fact.fields.get(name, []) for name in ("messages", "entries")}
        gone = [UUID(each) for each in ids["messages"]]
        if fact.type == "texts_purged":
            await forget_texts(connection, gone)
        elif fact.type in ("erased", "purged"):
            await forget_values(
                connection,
                messages=gone if fact.message is None else [fact.message],
                sms_activity_ids=fact.fields.get("sms_activity_ids", []),
                entries=[UUID(each) for each in ids["entries"]],
            )


async def tell_of_erasure(connection: AsyncConnection, rows: Sequence[Any]) -> None:
    """Messages were erased: rows with id and sms_activity_id."""
    ids = [row.id for row in rows]
    names = [row.sms_activity_id for row in rows if row.sms_activity_id is not None]
    await forget_values(connection, messages=ids, sms_activity_ids=names)
    await tell(connection, [ToldFact(id_, "erased", {}) for id_ in ids])


async def tell_of_erased_elsewhere(
    connection: AsyncConnection,
    *,
    sms_activity_ids: Collection[str] = (),
    entries: Collection[UUID] = (),
) -> None:
    """Values of receipts of nobody, or of entries of the audit, were erased."""
    if sms_activity_ids or entries:
        await forget_values(connection, sms_activity_ids=sms_activity_ids, entries=entries)
        fields = {
            "sms_activity_ids": sorted(sms_activity_ids),
            "entries": sorted(str(id_) for id_ in entries),
        }
        await tell(connection, [ToldFact(None, "erased", fields)])


async def tell_of_purge(
    connection: AsyncConnection,
    before: datetime,
    *,
    messages: Collection[UUID] = (),
    sms_activity_ids: Collection[str] = (),
    entries: Collection[UUID] = (),
) -> None:
    """Messages, receipts of nobody, or entries of the audit were deleted, since they are older than
    ``before``. The fact names each, so that nothing else can be taken for purged.
    """
    if messages or sms_activity_ids or entries:
        await forget_values(
            connection, messages=messages, sms_activity_ids=sms_activity_ids, entries=entries
        )
        fields = {
            "before": _time_text(before),
            "messages": sorted(str(id_) for id_ in messages),
            "sms_activity_ids": sorted(sms_activity_ids),
            "entries": sorted(str(id_) for id_ in entries),
        }
        await tell(connection, [ToldFact(None, "purged", fields)])


async def tell_of_lost_texts(
    connection: AsyncConnection, messages: Collection[UUID], before: datetime
) -> None:
    """The texts of messages were dropped, since they are older than ``before``."""
    await forget_texts(connection, messages)
    fields = {"before": _time_text(before), "messages": sorted(str(id_) for id_ in messages)}
    await tell(connection, [ToldFact(None, "texts_purged", fields)])


def _time_text(moment: datetime) -> str:
    """As facts write times."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
