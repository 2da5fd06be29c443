"""Roll-ups of messages by hour, for the console's overview.

New tables, empty: a worker fills them, the newest hours first. Until then the overview counts
messages.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014_rollups"
down_revision = "0013_cosignatures"
branch_labels = None
depends_on = None

locks = "nothing that exists: makes tables"
loses = None  # the roll-ups are counted from the messages

_time = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "rollups",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("noted_at", _time, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "rollup_hours",
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("changes", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("counted", sa.BigInteger(), nullable=True),
        sa.Column("counted_at", _time, nullable=True),
        sa.Column("messages", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("hour"),
    )
    op.create_table(
        "rollup_counts",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "hour", "app", "key", "status"),
    )


def downgrade() -> None:
    for name in ("counts", "hours"):
        op.drop_table(f"rollup_{name}")
    op.drop_table("rollups")
