"""A table of which releases can use the schema, for those that do not know its newest revisions.

A row is written with each migration from this one on (`migrations/env.py`).
"""

import sqlalchemy as sa
from alembic import op

revision = "0006_schema_releases"
down_revision = "0005_contradicted"
branch_labels = None
depends_on = None

locks = "nothing that exists: makes a table"
loses = None


def upgrade() -> None:
    op.create_table(
        "schema_releases",
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("compatible_from", sa.Integer(), nullable=False),
        sa.Column("breaking", sa.Text(), nullable=True),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("revision"),
    )


def downgrade() -> None:
    op.drop_table("schema_releases")
