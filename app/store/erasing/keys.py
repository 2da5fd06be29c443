"""Idempotency keys that tell of a number, and answers to batches that quote one.

All functions are parts of a transaction of the caller's. A key that is erased is noted by its
request's fingerprint: the key itself may be the number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, delete, false, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.mentions import ERASED, Mentions
from app.model.status import Status
from app.store.tables import idempotency_keys

_column = idempotency_keys.c
_SHOWN = (_column.app, _column.key, _column.fingerprint, _column.message_id, _column.answer)
_FAULTS = _column.answer.contains(f'"{Status.REJECTED}"')
"""Only these answers quote anything: what was wrong with a message of a batch."""
_A_NUMBER = re.compile(r"[0-9]{7}")


def has_digits(column: ColumnElement[Any], mentions: Mentions) -> ColumnElement[bool]:
    """Whether ASCII text has the number's digits, whatever punctuation stands between them."""
    if not mentions.national:
        return false()
    digits = column
    for char in " -.()/+_:,;":
        digits = func.replace(digits, char, "")
    return digits.like(f"%{mentions.national}%")


async def erase_keys(
    connection: AsyncConnection, of: Mapping[UUID, Mentions], references: Collection[str]
) -> list[UUID]:
    """Delete the keys of erased messages that tell of them, and those that are their references:
    the others keep a repeated request from becoming a second text. Returns what is to be noted.
    """
    named = _column.key.in_(references)
    query = select(*_SHOWN).where(or_(_column.message_id.in_(of), named))
    telling = [
        row
        for row in (await connection.execute(query)).all()
        if row.key in references or of[row.message_id].are_in(row.key)
    ]
    return await _delete(connection, telling)


async def erase_mentions_of(connection: AsyncConnection, mentions: Mentions) -> list[UUID]:
    """Delete the keys that are the number, and erase it from answers that quote it."""
    rows = await connection.execute(select(*_SHOWN).where(has_digits(_column.key, mentions)))
    found = await _delete(connection, rows.all())
    for row in (await connection.execute(select(*_SHOWN).where(_FAULTS))).all():
        if mentions.are_in(row.answer):
            await _set_answer(connection, row, mentions.erased_from_json(row.answer))
            found.append(_noted(row))
    return found


async def erase_again(connection: AsyncConnection, ids: Collection[UUID]) -> None:
    """The same in a database that was set back, where the number is not known any more."""
    these = _column.fingerprint.in_([id_.bytes for id_ in ids])
    rows = (await connection.execute(select(*_SHOWN).where(these))).all()
    quoting = [row for row in rows if row.answer is not None and not _may_be_number(row.key)]
    for row in quoting:
        await _set_answer(connection, row, _without_words(row.answer))
    await _delete(connection, [row for row in rows if row not in quoting])


async def _delete(connection: AsyncConnection, rows: Sequence[Row[*tuple[Any, ...]]]) -> list[UUID]:
    for row in rows:
        this = (_column.app == row.app) & (_column.key == row.key)
        await connection.execute(delete(idempotency_keys).where(this))
    return [_noted(row) for row in rows]


async def _set_answer(connection: AsyncConnection, row: Row[*tuple[Any, ...]], answer: str) -> None:
    this = (_column.app == row.app) & (_column.key == row.key)
    await connection.execute(update(idempotency_keys).where(this).values(answer=answer))


def _noted(row: Row[*tuple[Any, ...]]) -> UUID:
    return UUID(bytes=bytes(row.fingerprint))


def _may_be_number(key: str) -> bool:
    try:
        UUID(key)
    except ValueError:
        return _A_NUMBER.search(re.sub(r"[^0-9A-Za-z]", "", key)) is not None
    return False


def _without_words(answer: str) -> str:
    """An answer to a batch without what it says of faults."""
    found = json.loads(answer)
    for item in found["messages"]:
        item["errors"] = [{"field": "body", "message": ERASED} for _ in item["errors"]]
    return json.dumps(found)
