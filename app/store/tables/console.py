"""Sessions of the console, and sign-ins that are under way. Of secrets in cookies digests alone."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, Table, Text

from app.store.column_types import UtcTime
from app.store.tables.metadata import metadata

# By the digest of the cookie's secret: a copy of the table signs nobody in.
console_sessions = Table(
    "console_sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("csrf", Text, nullable=False),
    Column("key_id", Text),  # the API key used to sign in: the session has its scopes and its end
    Column("person", Text),  # who signed in by OpenID Connect, where there is no key_id
    Column("app", Text, nullable=False),
    Column("scopes", Text),  # of a person
    Column("id_token", Text),  # of a person: the provider needs it to end its own session
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
)
Index("console_sessions_by_age", console_sessions.c.expires_at)

# Sign-ins by OpenID Connect between the redirect to the provider and the one back.
console_sign_ins = Table(
    "console_sign_ins",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("nonce", Text, nullable=False),
    Column("verifier", Text, nullable=False),
    Column("wanted", Text, nullable=False),  # the page to go to after signing in
    Column("expires_at", UtcTime, nullable=False),
)
