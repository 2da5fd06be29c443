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
    """A session: of an API key (``key_id``) or of a ``person`` who signed in by OpenID Connect.

    ``csrf`` is the token that every form which changes something has to send.
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
    """A sign-in that is under way at the provider's: OpenID Connect's nonce, PKCE's verifier.

    ``wanted`` is the page to go to after it.
    """

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
        """Record a session, and delete sessions and sign-ins that have expired."""
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
        """The session; None if there is none or it has ended, by age, sign-out, or with its key."""
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

    async def begin_sign_in(self, digest: bytes, sign_in: SignIn, until: datetime) -> None:
        """Record a sign-in before the redirect to the provider, by the digest of its ``state``."""
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

    async def take_sign_in(self, digest: bytes) -> SignIn | None:
        """Delete and return a sign-in, so that it is completed once; None if it has expired."""
        column = console_sign_ins.c
        async with self._database.write() as connection:
            rows = await connection.execute(
                delete(console_sign_ins)
                .where(column.digest == digest)
                .returning(column.nonce, column.verifier, column.wanted, column.expires_at)
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
