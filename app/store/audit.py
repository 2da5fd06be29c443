"""The audit: entries are appended in the transaction of the action that they are about; only
erasures and purges change them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.audit import Actor, AuditFilter, Entry
from app.store.engine import Database
from app.store.evidence.pending import enqueue_entries
from app.store.tables import audit
from app.store.upsert import upsert

PATIENCE = 5.0
"""Seconds to append the entry of a read; after that its caller is answered 503."""


async def append(connection: AsyncConnection, entries: Sequence[Entry | None]) -> None:
    """Append entries as part of a transaction; of several with one ``once`` the first stays."""
    rows = [_row(entry) for entry in entries if entry is not None]
    if rows:
        statement = upsert(
            connection, audit
        ).on_conflict_do_nothing()  # the same id, or the same once
        await connection.execute(statement, rows)
        await enqueue_entries(connection, [row["id"] for row in rows])


class AuditStore:
    """Reads the audit, and appends entries of actions that have no transaction, such as reads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, entries: Sequence[Entry]) -> None:
        """Append entries; they are committed on return. Raises StoreUnavailable."""
        async with self._database.write(patience=PATIENCE) as connection:
            await append(connection, entries)

    async def count(self, entries: Sequence[Entry]) -> None:
        """Append entries, or add their ``times`` to the entry with the same ``once``."""
        rows = sorted((_row(entry) for entry in entries), key=lambda row: str(row["once"]))
        async with self._database.write(patience=PATIENCE) as connection:
            new = upsert(connection, audit)
            statement = new.on_conflict_do_update(
                index_elements=["once"], set_={"times": audit.c.times + new.excluded.times}
            )
            await connection.execute(statement, rows)
            await enqueue_entries(connection, [row["id"] for row in rows])

    async def page(
        self, wanted: AuditFilter, *, before: UUID | None = None, limit: int
    ) -> list[Entry]:
        """Up to ``limit`` entries, the newest first, with ids below ``before``."""
        query = select(*audit.c).where(*_conditions(wanted))
        if before is not None:
            query = query.where(audit.c.id < before)
        async with self._database.read(patience=PATIENCE) as connection:
            rows = await connection.execute(query.order_by(audit.c.id.desc()).limit(limit))
            return [entry_of(row) for row in rows]


def _conditions(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    column, found = audit.c, []
    if wanted.who is not None:
        found.append(or_(column.who == wanted.who, column.app == wanted.who))
    if wanted.action is not None:
        found.append(column.action == wanted.action)
    if wanted.what is not None:
        found.append(column.what == wanted.what)
    if wanted.since is not None:
        found.append(column.at >= wanted.since)
    if wanted.until is not None:
        found.append(column.at < wanted.until)
    return found


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": entry.at,
        "who": entry.actor.who,
        "app": entry.actor.app,
        "address": entry.actor.address,
        "action": entry.action,
        "what": entry.what,
        "destination": entry.destination,
        "reference": entry.reference,
        "details": json.dumps(dict(entry.details)) if entry.details else None,
        "once": entry.once,
        "times": entry.times,
    }


def entry_of(row: Row[*tuple[Any, ...]]) -> Entry:
    """An entry from a row of the audit."""
    return Entry(
        id=row.id,
        at=row.at,
        actor=Actor(row.who, row.app, row.address),
        action=row.action,
        what=row.what,
        destination=row.destination,
        reference=row.reference,
        details=json.loads(row.details or "{}"),
        times=row.times,
    )
