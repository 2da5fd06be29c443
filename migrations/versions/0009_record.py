"""The audit; the progress of retention; erasures, what they erased, and confirmations by disks.

New tables, and a column without a default: short locks, and the release before runs on it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009_record"
down_revision = "0008_keys"
branch_labels = None
depends_on = None

locks = "messages: ACCESS EXCLUSIVE for a moment, at the end; otherwise it makes tables"
loses = "the audit, and what was erased: which messages, and the proof of it"

_time = sa.DateTime(timezone=True)
_OPEN = sa.text("completed_at is null")


def upgrade() -> None:
    _audit()
    op.create_table(
        "retention",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("position", sa.Uuid()),
        sa.Column("number", sa.BigInteger()),
        sa.Column("done_at", _time),
        sa.Column("lease", sa.Uuid()),
        sa.Column("lease_until", _time),
    )
    op.create_table("retention_waiting", sa.Column("id", sa.Uuid(), primary_key=True))
    _erasures()
    op.add_column("messages", sa.Column("erased_at", _time))  # last: it locks a table in use


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("at", _time, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("app", sa.Text()),
        sa.Column("address", sa.Text()),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("what", sa.Text()),
        sa.Column("destination", sa.Text()),
        sa.Column("reference", sa.Text()),
        sa.Column("details", sa.Text()),
        sa.Column("once", sa.Text()),
        sa.Column("times", sa.Integer(), nullable=False, server_default=sa.text("1")),
    )
    op.create_index("audit_once", "audit", ["once"], unique=True)
    for name in ("who", "app", "action", "what"):
        op.create_index(f"audit_by_{name}", "audit", [name, sa.literal_column("id DESC")])
    op.create_index("audit_by_time", "audit", ["at"])
    for name in ("destination", "reference"):
        known = sa.text(f"{name} is not null")
        op.create_index(
            f"audit_by_{name}", "audit", [name], postgresql_where=known, sqlite_where=known
        )


def _erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("requested_at", _time, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("app", sa.Text()),
        sa.Column("digest", sa.LargeBinary()),
        sa.Column("number", sa.Text()),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("erased_at", _time),
        sa.Column("completed_at", _time),
        sa.Column("lease", sa.Uuid()),
        sa.Column("lease_until", _time),
    )
    op.create_index(
        "erasures_open", "erasures", ["requested_at"], postgresql_where=_OPEN, sqlite_where=_OPEN
    )
    op.create_index("erasures_by_digest", "erasures", ["digest"])
    op.create_table(
        "erased",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("sms_activity_id", sa.Text()),
        sa.Column("erased_at", _time, nullable=False),
    )
    op.create_index("erased_by_sms_activity_id", "erased", ["sms_activity_id"])
    op.create_index("erased_by_time", "erased", ["erased_at"])
    op.create_table(
        "disks",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("seen_at", _time, nullable=False),
        sa.Column("root", sa.Uuid()),
    )
    op.create_table(
        "erasure_confirmations",
        sa.Column(
            "erasure_id",
            sa.Uuid(),
            sa.ForeignKey("erasures.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column(
            "disk_id", sa.Uuid(), sa.ForeignKey("disks.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("confirmed_at", _time, nullable=False),
    )


def downgrade() -> None:
    for table in (
        "erasure_confirmations",
        "disks",
        "erased",
        "erasures",
        "retention_waiting",
        "retention",
    ):
        op.drop_table(table)
    op.drop_column("messages", "erased_at")
    op.drop_table("audit")
