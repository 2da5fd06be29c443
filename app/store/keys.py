"""API keys. Only digests are stored: a copy of the database gives no access."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, insert, select, update

from app.errors import StoreUnavailable
from app.model.audit import Entry
from app.parts.batcher import Batcher, BatcherClosed, BatcherFull
from app.store.any_of import any_of
from app.store.audit import append
from app.store.compiled import Compiled
from app.store.engine import Database
from app.store.tables import api_keys

LARGEST_BATCH = 200
CAPACITY = 10_000
AT_ONCE = 2
USED_EVERY = timedelta(minutes=1)
"""The precision of ``last_used_at``: a key in use costs one update in that time."""
PATIENCE = 10.0
"""Seconds for the database to find keys; after that a caller is answered 503."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. ``app`` is the name that it was created with."""

    id: str
    app: str
    scopes: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None

    def has_expired(self, now: datetime) -> bool:
        """Whether it has expired by then."""
        return self.expires_at is not None and self.expires_at <= now


class KeyStore:
    """Keys by the digest of their secret."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Concurrent requests share a statement (docs/performance.md).
        self._finds: Batcher[bytes, ApiKey | None] = Batcher(
            self._find_all, largest=LARGEST_BATCH, capacity=CAPACITY, writers=AT_ONCE
        )
        by_hash = select(api_keys).where(
            any_of(api_keys.c.hash, "hashes", is_sqlite=database.is_sqlite),
            api_keys.c.revoked_at.is_(None),
        )
        self._by_hash = Compiled(database, by_hash)

    async def add(
        self,
        *,
        key_id: str,
        app: str,
        digest: bytes,
        scopes: frozenset[str],
        expires_at: datetime | None = None,
        entry: Entry | None = None,
    ) -> None:
        """Record a new key, and the audit's entry of it."""
        async with self._database.write() as connection:
            await connection.execute(
                insert(api_keys).values(
                    id=key_id,
                    app=app,
                    hash=digest,
                    scopes=" ".join(sorted(scopes)),
                    created_at=self._database.clock.now(),
                    expires_at=expires_at,
                )
            )
            await append(connection, [entry])

    async def find(self, digest: bytes) -> ApiKey | None:
        """The key that is valid now and has this digest. Raises StoreUnavailable."""
        try:
            return await self._finds.submit(digest)
        except (BatcherFull, BatcherClosed):
            raise StoreUnavailable("Too many requests wait, or we shut down") from None

    async def _find_all(self, digests: Sequence[bytes]) -> list[ApiKey | None]:
        rows = await self._by_hash.rows({"hashes": list(set(digests))}, patience=PATIENCE)
        now = self._now()
        found = {bytes(row.hash): _key(row) for row in rows}
        valid = {each: key for each, key in found.items() if not key.has_expired(now)}
        return [valid.get(digest) for digest in digests]

    async def note_used(self, key_ids: Collection[str]) -> None:
        """Record that these keys were used just now, unless another process did within half of
        USED_EVERY.

        Raises StoreUnavailable.
        """
        now = self._now()
        last = api_keys.c.last_used_at
        async with self._database.write(patience=PATIENCE) as connection:
            await connection.execute(
                update(api_keys)
                .where(api_keys.c.id.in_(key_ids), last.is_(None) | (last < now - USED_EVERY / 2))
                .values(last_used_at=now)
            )

    async def valid(self, key_ids: Collection[str]) -> set[str]:
        """Which of these keys are valid now."""
        query = select(api_keys.c.id).where(
            api_keys.c.id.in_(key_ids), api_keys.c.revoked_at.is_(None), not_expired(self._now())
        )
        async with self._database.read() as connection:
            return set((await connection.execute(query)).scalars())

    def _now(self) -> datetime:
        return self._database.clock.now()

    async def all(self) -> list[ApiKey]:
        """Every key, also revoked ones, by app."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(api_keys).order_by(api_keys.c.app, api_keys.c.created_at)
            )
            return [_key(row) for row in rows]

    async def revoke(self, key_id: str, *, entry: Entry | None = None) -> bool:
        """Revoke a key; False if there is none that is valid."""
        async with self._database.write() as connection:
            changed = await connection.execute(
                update(api_keys)
                .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
                .values(revoked_at=self._database.clock.now())
                .returning(api_keys.c.id)
            )
            is_revoked = changed.one_or_none() is not None
            await append(connection, [entry] if is_revoked else [])
            return is_revoked


def not_expired(now: datetime) -> ColumnElement[bool]:
    """The condition that a key has not expired by then."""
    expires = api_keys.c.expires_at
    return expires.is_(None) | (expires > now)


def _key(row: Any) -> ApiKey:
    return ApiKey(
        id=row.id,
        app=row.app,
        scopes=frozenset(row.scopes.split()),
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )
