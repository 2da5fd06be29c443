"""Witnesses' co-signatures of checkpoints, and an index of the stamped or co-signed ones."""

import sqlalchemy as sa
from alembic import op

revision = "0013_cosignatures"
down_revision = "0012_evidence"
branch_labels = None
depends_on = None

locks = "evidence_checkpoints: adds a column and a small index"
loses = "which checkpoints have co-signatures; the signatures themselves stay in their notes"

_VOUCHED_FOR = sa.text("stamp is not null or cosigned_at is not null")


def upgrade() -> None:
    op.add_column(
        "evidence_checkpoints", sa.Column("cosigned_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.create_index(
        "evidence_checkpoints_vouched_for",
        "evidence_checkpoints",
        ["log", "size"],
        postgresql_where=_VOUCHED_FOR,
        sqlite_where=_VOUCHED_FOR,
    )


def downgrade() -> None:
    op.drop_index("evidence_checkpoints_vouched_for", "evidence_checkpoints")
    op.drop_column("evidence_checkpoints", "cosigned_at")
