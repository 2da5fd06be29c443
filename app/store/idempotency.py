"""Idempotency keys: the request that an app made under a key, and its response."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.erased_keys import erased_key
from app.store.engine import Database
from app.store.tables import idempotency_keys
from app.store.upsert import upsert

KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key as it is claimed. ``fingerprint`` tells one request body from another.

    ``repeated``: its request was repeated, and answered with the first one's outcome.
    """

    app: str
    key: str
    fingerprint: bytes
    message_id: UUID | None = None
    answer: str | None = None
    repeated: bool = False
    claimed_at: datetime | None = field(default=None, compare=False)

    @property
    def erased_key(self) -> str:
        """What stands in the key's place once it is erased."""
        return erased_key(self.key, self.fingerprint)


async def claim(
    connection: AsyncConnection, keys: Sequence[IdempotencyKey], now: datetime
) -> set[tuple[str, str]]:
    """Claim keys as part of a transaction; returns the (app, key) pairs that were free.

    Of two transactions that claim one key the second waits for the first one's commit. Keys are
    claimed in their order, so that two transactions never deadlock.
    """
    unique = {(key.app, key.key): key for key in reversed(keys)}
    erased = await _erased(connection, unique.values(), now)
    rows = [
        {
            "app": key.app,
            "key": key.key,
            "fingerprint": key.fingerprint,
            "created_at": now,
            "message_id": key.message_id,
            "answer": key.answer,
        }
        for _, key in sorted(unique.items())
        if (key.app, key.erased_key) not in erased
    ]
    if not rows:
        return set()
    claimed = upsert(connection, idempotency_keys).values(rows)
    new = claimed.excluded
    statement = claimed.on_conflict_do_update(  # of a claim that has expired
        index_elements=["app", "key"],
        set_={
            "fingerprint": new.fingerprint,
            "created_at": new.created_at,
            "message_id": new.message_id,
            "answer": new.answer,
            "repeated_at": None,
        },
        where=idempotency_keys.c.created_at < now - KEPT,
    ).returning(idempotency_keys.c.app, idempotency_keys.c.key)
    return {(row.app, row.key) for row in await connection.execute(statement)}


async def _erased(
    connection: AsyncConnection, keys: Collection[IdempotencyKey], now: datetime
) -> set[tuple[str, str]]:
    """Those of these keys that are claimed and erased, as (app, erased key).

    Claims whose keys are not erased are locked, too: an erasure that is not committed yet is waited
    for, and then the claim is found under its new name.
    """
    names = [(key.app, name) for key in keys for name in (key.key, key.erased_key)]
    both = (idempotency_keys.c.app, idempotency_keys.c.key)
    claimed = (
        select(*both)
        .where(tuple_(*both).in_(names), idempotency_keys.c.created_at >= now - KEPT)
        .order_by(*both)
        # The mode that `on conflict do update` takes: with a weaker one, two transactions that both
        # hold it deadlock when they claim the key.
        .with_for_update(key_share=True)
    )
    found = {(row.app, row.key) for row in await connection.execute(claimed)} if names else set()
    return found & {(key.app, key.erased_key) for key in keys}


async def lock_unrepeated(connection: AsyncConnection, key: IdempotencyKey) -> bool:
    """Lock a claim, so that no repetition is answered from it until the transaction ends.

    False if the claim is gone, or a repetition was answered already.
    """
    claimed = select(idempotency_keys.c.repeated_at).where(*_this(key)).with_for_update()
    row = (await connection.execute(claimed)).one_or_none()
    return row is not None and row.repeated_at is None


async def release(connection: AsyncConnection, key: IdempotencyKey) -> None:
    """Free a key whose request was undone, as part of a transaction."""
    await connection.execute(delete(idempotency_keys).where(*_this(key)))


def _this(key: IdempotencyKey) -> tuple[ColumnElement[bool], ...]:
    """Matches this claim, and no later one under the same key."""
    column = idempotency_keys.c
    return (
        column.app == key.app,
        column.key == key.key,
        column.fingerprint == key.fingerprint,
        column.message_id == key.message_id,
        column.answer == key.answer,
    )


class IdempotencyStore:
    """Reads claims, and deletes those past their 24 hours."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, key: IdempotencyKey, *, now: datetime) -> IdempotencyKey | None:
        """The claim of this key within the last 24 hours, also if the key is erased by now."""
        query = select(idempotency_keys).where(
            idempotency_keys.c.app == key.app,
            idempotency_keys.c.key.in_((key.key, key.erased_key)),
            idempotency_keys.c.created_at >= now - KEPT,
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            return None
        repeated = row.repeated_at is not None
        return IdempotencyKey(
            row.app,
            row.key,
            row.fingerprint,
            row.message_id,
            row.answer,
            repeated,
            row.created_at,
        )

    async def mark_repeated(self, used: IdempotencyKey, at: datetime) -> bool:
        """Mark a claim as repeated, so that it is not undone; False if it just was."""
        if used.repeated:
            return True
        mark = update(idempotency_keys).where(*_this(used)).values(repeated_at=at)
        async with self._database.write() as connection:
            return (await connection.execute(mark)).rowcount > 0

    async def delete_expired(self, *, now: datetime, limit: int = 1000) -> int:
        """Delete up to ``limit`` keys that are past their 24 hours; returns how many."""
        old = (
            select(idempotency_keys.c.app, idempotency_keys.c.key)
            .where(idempotency_keys.c.created_at < now - KEPT)
            .limit(limit)
        )
        both = tuple_(idempotency_keys.c.app, idempotency_keys.c.key)
        async with self._database.write() as connection:
            gone = await connection.execute(delete(idempotency_keys).where(both.in_(old)))
            return gone.rowcount
