"""What all processes share: their reports, the state that metrics are read from, the alarms.

Only new tables, which the release before does not use.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010_operations"
down_revision = "0009_record"
branch_labels = None
depends_on = None

locks = "nothing that exists: makes three tables"
loses = None  # it is all gathered anew within seconds, but for when alarms began


def upgrade() -> None:
    op.create_table(
        "operations",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
    )
    op.create_table(
        "process_reports",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
    )
    op.create_table(
        "alarms",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
    )


def downgrade() -> None:
    op.drop_table("alarms")
    op.drop_table("process_reports")
    op.drop_table("operations")
