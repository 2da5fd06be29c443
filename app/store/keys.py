"""API keys. Only digests are stored: a copy of the database gives no access."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from app.errors import StoreUnavailable
from app.parts.batcher import Batcher, BatcherClosed, BatcherFull
from app.store.any_of import any_of
from app.store.compiled import Compiled
from app.store.engine import Database
from app.store.tables import api_keys

LARGEST_BATCH = 200
CAPACITY = 10_000
AT_ONCE = 2
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

    async def add(self, *, key_id: str, app: str, digest: bytes, scopes: frozenset[str]) -> None:
        """Record a new key."""
        async with self._database.write() as connection:
            await connection.execute(
                insert(api_keys).values(
                    id=key_id,
                    app=app,
                    hash=digest,
                    scopes=" ".join(sorted(scopes)),
                    created_at=self._database.clock.now(),
                )
            )

    async def find(self, digest: bytes) -> ApiKey | None:
        """The key that is valid now and has this digest. Raises StoreUnavailable."""
        try:
            return await self._finds.submit(digest)
        except (BatcherFull, BatcherClosed):
            raise StoreUnavailable("Too many requests wait, or we shut down") from None

    async def _find_all(self, digests: Sequence[bytes]) -> list[ApiKey | None]:
        rows = await self._by_hash.rows({"hashes": list(set(digests))}, patience=PATIENCE)
        found = {bytes(row.hash): _key(row) for row in rows}
        return [found.get(digest) for digest in digests]

    async def valid(self, key_ids: Collection[str]) -> set[str]:
        """Which of these keys are valid now."""
        query = select(api_keys.c.id).where(
            api_keys.c.id.in_(key_ids), api_keys.c.revoked_at.is_(None)
        )
        async with self._database.read() as connection:
            return set((await connection.execute(query)).scalars())

    async def all(self) -> list[ApiKey]:
        """Every key, also revoked ones, by app."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(api_keys).order_by(api_keys.c.app, api_keys.c.created_at)
            )
            return [_key(row) for row in rows]

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key; False if there is none that is valid."""
        async with self._database.write() as connection:
            changed = await connection.execute(
                update(api_keys)
                .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
                .values(revoked_at=self._database.clock.now())
                .returning(api_keys.c.id)
            )
            return changed.one_or_none() is not None


def _key(row: Any) -> ApiKey:
    return ApiKey(
        id=row.id,
        app=row.app,
        scopes=frozenset(row.scopes.split()),
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )
