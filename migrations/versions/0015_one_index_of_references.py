"""Drops an index of references: the one by their beginnings finds whole ones as well.

It took 59 bytes of each message's 2.4 KB. Queries of the release before use the other one, too.
"""

import sqlalchemy as sa

from app.store.online import create_index, drop_index

revision = "0015_one_index"
down_revision = "0014_rollups"
branch_labels = None
depends_on = None

locks = "nothing: drops an index of messages while it is used"
loses = None

_INDEX = "messages_by_reference"
_HAS_REFERENCE = sa.text("reference is not null")


def upgrade() -> None:
    drop_index(_INDEX, "messages")


def downgrade() -> None:
    create_index(
        _INDEX,
        "messages",
        ["app", "reference", sa.text("id DESC")],
        postgresql_where=_HAS_REFERENCE,
        sqlite_where=_HAS_REFERENCE,
    )
