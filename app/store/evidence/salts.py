"""Deletes the salts of commitments, in the caller's transaction. Once a value and its salt are both
deleted, nobody can find out the value by trying candidates, and every proof still holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.any_of import any_of, chunks
from app.store.evidence.rows import PendingFact, subject_of, subject_of_entry
from app.store.tables import evidence_facts

AT_ONCE = 5_000
"""Subjects in one statement."""
_SALT_SIZE = 32
"""Bytes of one salt (``app.record.evidence.form.SALT_SIZE``, which the store cannot import)."""


async def delete_salts(
    connection: AsyncConnection,
    *,
    messages: Collection[UUID] = (),
    sms_activity_ids: Collection[str] = (),
    entries: Collection[UUID] = (),
) -> None:
    """Delete the salts of all facts of these messages, ids and entries of the audit."""
    subjects = [*map(subject_of, messages), *map(subject_of, sms_activity_ids)]
    subjects += map(subject_of_entry, entries)
    is_sqlite = connection.dialect.name == "sqlite"
    these = any_of(evidence_facts.c.subject, "subjects", is_sqlite=is_sqlite)
    for some in chunks(subjects, AT_ONCE):
        emptied = update(evidence_facts).where(these).values(salts=b"")
        await connection.execute(emptied, {"subjects": some})


async def delete_text_salts(connection: AsyncConnection, messages: Collection[UUID]) -> None:
    """Overwrite the salt of each message's text with zeros; its other salts stay."""
    facts = evidence_facts.c
    query = select(facts.log, facts.idx, facts.salts).where(
        facts.subject.in_([subject_of(id_) for id_ in messages]), facts.number == 1
    )
    rows = [row for row in await connection.execute(query) if row.salts]
    if rows:
        # The text's salt is the second one (``app.record.evidence.form.COMMITTED``).
        this_fact = (facts.log == bindparam("of_log")) & (facts.idx == bindparam("of_idx"))
        await connection.execute(
            update(evidence_facts).where(this_fact).values(salts=bindparam("left")),
            [
                {
                    "of_log": row.log,
                    "of_idx": row.idx,
                    "left": row.salts[:_SALT_SIZE]
                    + bytes(_SALT_SIZE)
                    + row.salts[2 * _SALT_SIZE :],
                }
                for row in rows
            ],
        )


async def delete_missed_salts(connection: AsyncConnection, facts: Iterable[PendingFact]) -> None:
    """Delete salts again when the fact of their erasure or purge is appended: the transaction that
    enqueued it could not see facts that a concurrent append had not yet committed.
    """
    for fact in facts:
        ids = {name: fact.fields.get(name, []) for name in ("messages", "entries")}
        gone = [UUID(each) for each in ids["messages"]]
        if fact.type == "texts_purged":
            await delete_text_salts(connection, gone)
        elif fact.type in ("erased", "purged"):
            await delete_salts(
                connection,
                messages=gone if fact.message is None else [fact.message],
                sms_activity_ids=fact.fields.get("sms_activity_ids", []),
                entries=[UUID(each) for each in ids["entries"]],
            )
