"""API keys. Only a digest is stored: a copy of the database opens nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select, update

from app.store.engine import Database
from app.store.tables import api_keys


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

    async def add(self, *, key_id: str, app: str, digest: bytes, scopes: frozenset[str]) -> None:
        """Record a new key."""
        async with self._database.write() as connection:
            await connection.execute(
                insert(api_keys).values(
                    id=key_id,
                    app=app,
                    hash=digest,
                    scopes=" ".join(sorted(scopes)),
                    created_at=datetime.now(UTC),
                )
            )

    async def find(self, digest: bytes) -> ApiKey | None:
        """The key that is valid now and has this digest."""
        query = select(api_keys).where(api_keys.c.hash == digest, api_keys.c.revoked_at.is_(None))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _key(row)

    async def all(self) -> list[ApiKey]:
        """Every key, revoked ones too, by app."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(api_keys).order_by(api_keys.c.app, api_keys.c.created_at)
            )
            return [_key(row) for row in rows]

    async def revoke(self, key_id: str) -> bool:
        """End a key; False where there is none that is valid."""
        async with self._database.write() as connection:
            changed = await connection.execute(
                update(api_keys)
                .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
                .values(revoked_at=datetime.now(UTC))
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
