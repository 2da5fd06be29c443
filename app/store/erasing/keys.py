"""Erases idempotency keys that contain a number, and responses to batches that quote one.

All functions are parts of a transaction of the caller's. A claim stays for the rest of its 24
hours, under a digest that takes the key's place (``app.model.erased_keys``): its request, repeated,
must not become a second text. What is erased is noted by its request's fingerprint: the key itself
may be the number.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, delete, false, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.erased_keys import erased_fingerprint, erased_name, is_erased
from app.model.mentions import ERASED, Mentions
from app.model.status import Status
from app.store.tables import idempotency_keys

_column = idempotency_keys.c
_SHOWN = (_column.app, _column.key, _column.fingerprint, _column.message_id, _column.answer)
_FAULTS = _column.answer.contains(f'"{Status.REJECTED}"')
"""Matches stored responses that quote requests: they say what was wrong with a message."""

Claim = Row[*tuple[Any, ...]]


def has_digits(column: ColumnElement[Any], mentions: Mentions) -> ColumnElement[bool]:
    """Whether ASCII text has the number's digits, whatever punctuation stands between them."""
    if not mentions.national:
        return false()
    digits = column
    for char in " -.()/+_:,;":
        digits = func.replace(digits, char, "")
    return digits.like(f"%{mentions.national}%")


async def erase_keys(
    connection: AsyncConnection, of: Mapping[UUID, Mentions], messages: Sequence[Row[Any]]
) -> list[UUID]:
    """Erase the keys of these messages that mention them, and their apps' keys that are equal to
    their references. Other keys stay, also those of other apps with the same text.

    Returns the ids to be noted: the claims' fingerprints.
    """
    references = {(one.app, one.reference) for one in messages if one.reference is not None}
    own = {one.id: one.reference for one in messages}
    named = tuple_(_column.app, _column.key).in_(references)
    query = select(*_SHOWN).where(or_(_column.message_id.in_(own), named))
    mentioning = [
        row
        for row in (await connection.execute(query)).all()
        if (row.app, row.key) in references
        or row.key == own[row.message_id]
        or of[row.message_id].are_in(row.key)
    ]
    return await _erase(connection, {row: row.answer for row in mentioning}, keys=mentioning)


async def erase_mentions_of(connection: AsyncConnection, mentions: Mentions) -> list[UUID]:
    """Erase the keys that have the number, and the number from responses that quote it; returns the
    ids to be noted.
    """
    having = select(*_SHOWN).where(has_digits(_column.key, mentions))
    keys = (await connection.execute(having)).all()
    quoting = (await connection.execute(select(*_SHOWN).where(_FAULTS))).all()
    answers = {row: row.answer for row in keys} | {
        row: mentions.erased_from_json(row.answer) for row in quoting if mentions.are_in(row.answer)
    }
    return await _erase(connection, answers, keys=keys)


async def erase_again(connection: AsyncConnection, noted: Mapping[UUID, object]) -> None:
    """The same after a restore, by noted ids. Whether a claim was noted for its key or its response
    is not known any more: both are erased.
    """
    these = _column.fingerprint.in_([id_.bytes for id_ in noted])
    rows = (await connection.execute(select(*_SHOWN).where(these))).all()
    await _erase(connection, {row: _without_faults(row.answer) for row in rows}, keys=rows)


async def _erase(
    connection: AsyncConnection, answers: Mapping[Claim, str | None], *, keys: Collection[Claim]
) -> list[UUID]:
    """Give claims these responses, and erase the keys of some; returns the ids to be noted.

    In the order of the keys, in which they are claimed, too, so that transactions do not deadlock.
    """
    changed = []
    for row in sorted(answers, key=lambda row: (row.app, row.key)):
        values: dict[str, object] = {}
        if answers[row] != row.answer:
            values["answer"] = answers[row]
        if row in keys and not is_erased(row.key):
            digest = erased_fingerprint(row.key, bytes(row.fingerprint))
            values |= {"key": erased_name(digest), "fingerprint": digest}
        if values:
            await _update(connection, row, values)
            changed.append(UUID(bytes=bytes(row.fingerprint)))
    return changed


async def _update(connection: AsyncConnection, row: Claim, values: dict[str, object]) -> None:
    this = (_column.app == row.app, _column.key == row.key)
    if "key" in values:
        # A journal may have brought back the erased claim beside the one that still has its key.
        erased = select(_column.app).where(_column.app == row.app, _column.key == values["key"])
        if (await connection.execute(erased)).first() is not None:
            await connection.execute(delete(idempotency_keys).where(*this))
            return
    await connection.execute(update(idempotency_keys).where(*this).values(values))


def _without_faults(answer: str | None) -> str | None:
    """A response to a batch whose faults are replaced by the note that they were erased."""
    if answer is None:
        return None
    found = json.loads(answer)
    for item in found["messages"]:
        item["errors"] = [{"field": "body", "message": ERASED} for _ in item["errors"]]
    return json.dumps(found)
