"""The attempts at a delivery: a JSON array in its row, the oldest first and the last 20 of them.

Not a table of their own: they are only read with their delivery, and written by the statement that
records an attempt. It appends in SQL, so that what another process has recorded or erased meanwhile
stays so.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.webhook import Attempt
from app.store.any_of import any_of
from app.store.tables import webhook_deliveries

KEPT = 20
"""Attempts of one delivery: with the default settings those of the last three hours."""


def entry_of(attempt: Attempt) -> str:
    """An attempt as it is stored."""
    return json.dumps(_stored(attempt))


def attempts_of(log: str | None) -> tuple[Attempt, ...]:
    """The attempts in a log."""
    return tuple(
        Attempt(
            at=datetime.fromisoformat(each["at"]),
            took_ms=each["took_ms"],
            status_code=each.get("status_code"),
            error=each.get("error"),
            response=each.get("response"),
        )
        for each in json.loads(log or "[]")
    )


def log_of(attempts: Iterable[Attempt]) -> str | None:
    """The log of these attempts; None where there are none."""
    stored = [_stored(each) for each in attempts]
    return json.dumps(stored) if stored else None


async def drop_responses(connection: AsyncConnection, messages: Collection[UUID]) -> None:
    """Drop receivers' responses to events of these messages: a response may quote the text."""
    column = webhook_deliveries.c
    these = any_of(column.message_id, "messages", is_sqlite=connection.dialect.name == "sqlite")
    query = (
        select(column.id, column.attempt_log)
        .where(these, column.attempt_log.contains('"response"'))
        .order_by(column.id)
        .with_for_update()
    )
    left = [
        {"delivery": row.id, "left": log_of(without_responses(attempts_of(row.attempt_log)))}
        for row in await connection.execute(query, {"messages": list(messages)})
    ]
    if left:
        this = column.id == bindparam("delivery")
        statement = update(webhook_deliveries).where(this)
        await connection.execute(statement.values(attempt_log=bindparam("left")), left)


def without_responses(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Attempts without their responses' bodies; codes and times stay."""
    return [replace(each, response=None) for each in attempts]


def _stored(attempt: Attempt) -> dict[str, object]:
    fields: dict[str, object] = {
        "at": attempt.at.isoformat(),
        "took_ms": attempt.took_ms,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "response": attempt.response,
    }
    return {name: value for name, value in fields.items() if value is not None}
