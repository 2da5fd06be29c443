"""The console: sessions and sign-ins, and indexes to find messages by parts of their fields.

New tables, and two indexes that are made while messages are written; nothing that exists changes.
"""

import sqlalchemy as sa
from alembic import op

from app.store.online import create_index, drop_index

revision = "0011_console"
down_revision = "0010_operations"
branch_labels = None
depends_on = None

locks = "nothing for long: makes tables, and indexes on messages while it is used"
loses = "who is signed in to the console"

_time = sa.DateTime(timezone=True)
_LAST_DIGITS = "messages_by_last_digits"
_REFERENCE_PREFIX = "messages_by_reference_prefix"
_HAS_REFERENCE = sa.text("reference is not null")


def upgrade() -> None:
    op.create_table(
        "console_sessions",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("csrf", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text()),
        sa.Column("person", sa.Text()),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text()),
        sa.Column("id_token", sa.Text()),
        sa.Column("created_at", _time, nullable=False),
        sa.Column("expires_at", _time, nullable=False),
        if_not_exists=True,
    )
    op.create_index(
        "console_sessions_by_age", "console_sessions", ["expires_at"], if_not_exists=True
    )
    op.create_table(
        "console_sign_ins",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("verifier", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("expires_at", _time, nullable=False),
        if_not_exists=True,
    )
    create_index(
        _LAST_DIGITS,
        "messages",
        ["app", sa.text("substr(destination, length(destination) - 3)"), sa.text("id DESC")],
    )
    create_index(
        _REFERENCE_PREFIX,
        "messages",
        ["app", "reference", "id"],
        postgresql_ops={"reference": "text_pattern_ops"},
        postgresql_where=_HAS_REFERENCE,
        sqlite_where=_HAS_REFERENCE,
    )


def downgrade() -> None:
    drop_index(_REFERENCE_PREFIX, "messages")
    drop_index(_LAST_DIGITS, "messages")
    op.drop_table("console_sign_ins")
    op.drop_table("console_sessions")
