"""The journal: incarnations of the database, the processes that keep a journal, holds of the queue.

Only new tables and columns, which the release before neither reads nor has to fill.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007_journal"
down_revision = "0006_schema_releases"
branch_labels = None
depends_on = None

locks = "messages: ACCESS EXCLUSIVE for a moment"
loses = "what the journals of the processes are compared with"


def upgrade() -> None:
    op.add_column(
        "messages", sa.Column("leases", sa.Integer(), nullable=False, server_default=sa.text("0"))
    )
    op.add_column("messages", sa.Column("incarnation", sa.Uuid()))
    op.create_table(
        "incarnations",
        sa.Column("n", sa.Integer(), primary_key=True),
        sa.Column("nonce", sa.Uuid(), nullable=False, unique=True),
        sa.Column("generation", sa.Text(), nullable=False),
        sa.Column("last_event", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("noticed_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True)),
    )
    op.create_table(
        "processes",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("beat", sa.Uuid(), nullable=False),
        sa.Column("mark", sa.Uuid()),
        sa.Column("knows", sa.Text(), nullable=False),
        sa.Column("incarnation", sa.Uuid()),
        sa.Column("last_event", sa.BigInteger(), nullable=False),
        sa.Column("is_stopped", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "queue_holds",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("held_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )
    op.create_table(
        "queue_settlements",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_by", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("queue_settlements")
    op.drop_table("queue_holds")
    op.drop_table("processes")
    op.drop_table("incarnations")
    op.drop_column("messages", "incarnation")
    op.drop_column("messages", "leases")
