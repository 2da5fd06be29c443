"""People who sign in to the console."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, Table, Text

from app.store.column_types import UtcTime
from app.store.tables.metadata import metadata

# People who are signed in to the console. Digests only: a copy of the table signs nobody in.
console_sessions = Table(
    "console_sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("csrf", Text, nullable=False),
    Column("key_id", Text),  # signed in by this API key: its scopes and its end are the session's
    Column("person", Text),  # or by OpenID Connect, as this person
    Column("app", Text, nullable=False),
    Column("scopes", Text),  # of a person
    Column("id_token", Text),  # of a person: the provider wants it to end its own session
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
)
Index("console_sessions_by_age", console_sessions.c.expires_at)

# People who are at their provider's, about to come back.
console_sign_ins = Table(
    "console_sign_ins",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("nonce", Text, nullable=False),
    Column("verifier", Text, nullable=False),
    Column("wanted", Text, nullable=False),  # the page that they wanted
    Column("expires_at", UtcTime, nullable=False),
)
