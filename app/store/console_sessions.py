"""Sessions of people at the console, by the digest of the secret in their cookie.

A session that was begun with an API key has that key's scopes and ends with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, insert, or_, select

from app.store.engine import Database
from app.store.keys import not_expired
from app.store.tables import api_keys, console_sessions, console_sign_ins


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in. ``key_id`` or ``person`` is set, and says as whom.

    ``csrf`` has to come with everything that changes something.
    """

    csrf: str
    key_id: str | None
    person: str | None
    app: str
    scopes: frozenset[str]
    expires_at: datetime
    id_token: str | None = None

    def __repr__(self) -> str:
        return f"Session({self.key_id or self.person})"


@dataclass(frozen=True, slots=True)
class SignIn:
    """A sign-in that is under way at the provider's. ``wanted`` is the page to go on with."""

    nonce: str
    verifier: str
    wanted: str

    def __repr__(self) -> str:
        return "SignIn(...)"


class ConsoleSessionStore:
    """Each method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, digest: bytes, session: Session) -> None:
        """Record a session; those that have ended by age are forgotten."""
        now = self._database.clock.now()
        async with self._database.write() as connection:
            for table in (console_sessions, console_sign_ins):
                await connection.execute(delete(table).where(table.c.expires_at < now))
            await connection.execute(
                insert(console_sessions).values(
                    digest=digest,
                    csrf=session.csrf,
                    key_id=session.key_id,
                    person=session.person,
                    app=session.app,
                    scopes=" ".join(sorted(session.scopes)),
                    id_token=session.id_token,
                    created_at=now,
                    expires_at=session.expires_at,
                )
            )

    async def find(self, digest: bytes) -> Session | None:
        """The session, unless it has ended: by sign-out, by age, or with its key."""
        now = self._database.clock.now()
        key = and_(
            api_keys.c.id == console_sessions.c.key_id,
            api_keys.c.revoked_at.is_(None),
            not_expired(now),
        )
        query = (
            select(*console_sessions.c, api_keys.c.scopes.label("scopes_of_key"))
            .select_from(console_sessions.outerjoin(api_keys, key))
            .where(
                console_sessions.c.digest == digest,
                console_sessions.c.expires_at > now,
                or_(console_sessions.c.key_id.is_(None), api_keys.c.id.is_not(None)),
            )
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _session(row)

    async def end(self, digest: bytes) -> None:
        """Sign out."""
        async with self._database.write() as connection:
            await connection.execute(
                delete(console_sessions).where(console_sessions.c.digest == digest)
            )

    async def leave(self, digest: bytes, sign_in: SignIn, until: datetime) -> None:
        """Somebody goes to the provider to sign in."""
        async with self._database.write() as connection:
            await connection.execute(
                insert(console_sign_ins).values(
                    digest=digest,
                    nonce=sign_in.nonce,
                    verifier=sign_in.verifier,
                    wanted=sign_in.wanted,
                    expires_at=until,
                )
            )

    async def come_back(self, digest: bytes) -> SignIn | None:
        """They are back: what they left with, once."""
        gone = console_sign_ins
        async with self._database.write() as connection:
            rows = await connection.execute(
                delete(gone)
                .where(gone.c.digest == digest)
                .returning(gone.c.nonce, gone.c.verifier, gone.c.wanted, gone.c.expires_at)
            )
            row = rows.one_or_none()
        if row is None or row.expires_at < self._database.clock.now():
            return None
        return SignIn(nonce=row.nonce, verifier=row.verifier, wanted=row.wanted)


def _session(row: Any) -> Session:
    scopes = row.scopes if row.key_id is None else row.scopes_of_key
    return Session(
        csrf=row.csrf,
        key_id=row.key_id,
        person=row.person,
        app=row.app,
        scopes=frozenset((scopes or "").split()),
        expires_at=row.expires_at,
        id_token=row.id_token,
    )
