"""The first schema: messages, deliveries, receipts, events, keys, webhooks.

Frozen, like every migration that was released.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
    )
    op.create_table(
        "deliveries",
        sa.Column("sms_activity_id", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("app", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_key", sa.BigInteger(), nullable=True),
        sa.Column("submitted_key", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_key", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("status_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("prev_key", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("sms_activity_id"),
    )
    op.create_index(
        "deliveries_by_status",
        "deliveries",
        ["app", "status", sa.literal_column("message_id DESC")],
        unique=False,
        postgresql_where=sa.text("app is not null"),
        sqlite_where=sa.text("app is not null"),
    )
    op.create_index(
        "deliveries_contradictory",
        "deliveries",
        ["app", sa.literal_column("message_id DESC")],
        unique=False,
        postgresql_where=sa.text("app is not null and seen & 3 = 3"),
        sqlite_where=sa.text("app is not null and seen & 3 = 3"),
    )
    op.create_index(
        "deliveries_expiring",
        "deliveries",
        ["app", "expires_at", "message_id"],
        unique=False,
        postgresql_where=sa.text(
            "app is not null and expires_at is not null and status in ('SUBMITTED', 'ACKNOWLEDGED', 'BUFFERED')"
        ),
        sqlite_where=sa.text(
            "app is not null and expires_at is not null and status in ('SUBMITTED', 'ACKNOWLEDGED', 'BUFFERED')"
        ),
    )
    op.create_index(
        "deliveries_late",
        "deliveries",
        ["app", "status_at", "message_id"],
        unique=False,
        postgresql_where=sa.text(
            "app is not null and status_key % 1000000000000000000 > created_key + 7200000000"
        ),
        sqlite_where=sa.text(
            "app is not null and status_key % 1000000000000000000 > created_key + 7200000000"
        ),
    )
    op.create_table(
        "events",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("sms_activity_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_app", "events", ["app", "id"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("repeated_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("app", "key"),
    )
    op.create_index("idempotency_keys_by_age", "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("expiry", sa.Integer(), nullable=True),
        sa.Column("c2c_failover_link_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("send_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sms_activity_id", sa.Text(), nullable=True),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("errors", sa.Text(), nullable=True),
        sa.Column("steps", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("give_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("announced", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("resend_of", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["resend_of"],
            ["messages.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "messages_by_app", "messages", ["app", sa.literal_column("id DESC")], unique=False
    )
    op.create_index(
        "messages_by_destination",
        "messages",
        ["app", "destination", sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "messages_by_origin",
        "messages",
        ["app", "origin", sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index(
        "messages_by_reference",
        "messages",
        ["app", "reference", sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("reference is not null"),
        sqlite_where=sa.text("reference is not null"),
    )
    op.create_index(
        "messages_by_sms_activity_id",
        "messages",
        ["sms_activity_id"],
        unique=True,
        postgresql_where=sa.text("sms_activity_id is not null"),
        sqlite_where=sa.text("sms_activity_id is not null"),
    )
    op.create_index(
        "messages_by_state",
        "messages",
        ["app", "state", sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("state <> 'SUBMITTED'"),
        sqlite_where=sa.text("state <> 'SUBMITTED'"),
    )
    op.create_index(
        "messages_due",
        "messages",
        ["app", "next_attempt_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'QUEUED'"),
        sqlite_where=sa.text("state = 'QUEUED'"),
    )
    op.create_index(
        "messages_leased",
        "messages",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'SENDING'"),
        sqlite_where=sa.text("state = 'SENDING'"),
    )
    op.create_index(
        "messages_outlived",
        "messages",
        ["give_up_at"],
        unique=False,
        postgresql_where=sa.text("state = 'QUEUED'"),
        sqlite_where=sa.text("state = 'QUEUED'"),
    )
    op.create_index(
        "messages_resent",
        "messages",
        ["resend_of"],
        unique=False,
        postgresql_where=sa.text("resend_of is not null"),
        sqlite_where=sa.text("resend_of is not null"),
    )
    op.create_table(
        "pace",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "receipts",
        sa.Column("sms_activity_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_key", sa.BigInteger(), nullable=False),
        sa.Column("delivery_status", sa.Text(), nullable=True),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("receipt_timestamp", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("time_quality", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("message_hint", sa.Uuid(), nullable=True),
        sa.Column(
            "also", postgresql.ARRAY(sa.Uuid()).with_variant(sa.Text(), "sqlite"), nullable=True
        ),
        sa.Column("times_seen", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("sms_activity_id", "digest"),
    )
    op.create_table(
        "rejected_receipts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("message_hint", sa.Uuid(), nullable=True),
        sa.Column("replayed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("app", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("statuses", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.Text(), nullable=True),
        sa.Column("previous_secret_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("webhooks_by_app", "webhooks", ["app"], unique=False)
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("message_id", sa.Uuid(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("replays", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "webhook_deliveries_by_event", "webhook_deliveries", ["webhook_id", "event_id"], unique=True
    )
    op.create_index(
        "webhook_deliveries_due",
        "webhook_deliveries",
        ["webhook_id", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state = 'PENDING'"),
        sqlite_where=sa.text("state = 'PENDING'"),
    )
    op.create_index("webhook_deliveries_ended", "webhook_deliveries", ["ended_at"], unique=False)
    op.create_index(
        "webhook_deliveries_in_turn",
        "webhook_deliveries",
        ["webhook_id", "message_id", "event_id"],
        unique=False,
        postgresql_where=sa.text("state = 'PENDING'"),
        sqlite_where=sa.text("state = 'PENDING'"),
    )
    op.create_index(
        "webhook_deliveries_listed",
        "webhook_deliveries",
        ["webhook_id", sa.literal_column("id DESC")],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index("webhook_deliveries_listed", table_name="webhook_deliveries")
    op.drop_index(
        "webhook_deliveries_in_turn",
        table_name="webhook_deliveries",
        postgresql_where=sa.text("state = 'PENDING'"),
        sqlite_where=sa.text("state = 'PENDING'"),
    )
    op.drop_index("webhook_deliveries_ended", table_name="webhook_deliveries")
    op.drop_index(
        "webhook_deliveries_due",
        table_name="webhook_deliveries",
        postgresql_where=sa.text("state = 'PENDING'"),
        sqlite_where=sa.text("state = 'PENDING'"),
    )
    op.drop_index("webhook_deliveries_by_event", table_name="webhook_deliveries")
    op.drop_table("webhook_deliveries")
    op.drop_index("webhooks_by_app", table_name="webhooks")
    op.drop_table("webhooks")
    op.drop_table("rejected_receipts")
    op.drop_table("receipts")
    op.drop_table("pace")
    op.drop_index(
        "messages_resent",
        table_name="messages",
        postgresql_where=sa.text("resend_of is not null"),
        sqlite_where=sa.text("resend_of is not null"),
    )
    op.drop_index(
        "messages_outlived",
        table_name="messages",
        postgresql_where=sa.text("state = 'QUEUED'"),
        sqlite_where=sa.text("state = 'QUEUED'"),
    )
    op.drop_index(
        "messages_leased",
        table_name="messages",
        postgresql_where=sa.text("state = 'SENDING'"),
        sqlite_where=sa.text("state = 'SENDING'"),
    )
    op.drop_index(
        "messages_due",
        table_name="messages",
        postgresql_where=sa.text("state = 'QUEUED'"),
        sqlite_where=sa.text("state = 'QUEUED'"),
    )
    op.drop_index(
        "messages_by_sms_activity_id",
        table_name="messages",
        postgresql_where=sa.text("sms_activity_id is not null"),
        sqlite_where=sa.text("sms_activity_id is not null"),
    )
    op.drop_index(
        "messages_by_state",
        table_name="messages",
        postgresql_where=sa.text("state <> 'SUBMITTED'"),
        sqlite_where=sa.text("state <> 'SUBMITTED'"),
    )
    op.drop_index(
        "messages_by_reference",
        table_name="messages",
        postgresql_where=sa.text("reference is not null"),
        sqlite_where=sa.text("reference is not null"),
    )
    op.drop_index("messages_by_origin", table_name="messages")
    op.drop_index("messages_by_destination", table_name="messages")
    op.drop_index("messages_by_app", table_name="messages")
    op.drop_table("messages")
    op.drop_index("idempotency_keys_by_age", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index("events_by_app", table_name="events")
    op.drop_table("events")
    op.drop_index(
        "deliveries_late",
        table_name="deliveries",
        postgresql_where=sa.text(
            "app is not null and status_key % 1000000000000000000 > created_key + 7200000000"
        ),
        sqlite_where=sa.text(
            "app is not null and status_key % 1000000000000000000 > created_key + 7200000000"
        ),
    )
    op.drop_index(
        "deliveries_expiring",
        table_name="deliveries",
        postgresql_where=sa.text(
            "app is not null and expires_at is not null and status in ('SUBMITTED', 'ACKNOWLEDGED', 'BUFFERED')"
        ),
        sqlite_where=sa.text(
            "app is not null and expires_at is not null and status in ('SUBMITTED', 'ACKNOWLEDGED', 'BUFFERED')"
        ),
    )
    op.drop_index(
        "deliveries_contradictory",
        table_name="deliveries",
        postgresql_where=sa.text("app is not null and seen & 3 = 3"),
        sqlite_where=sa.text("app is not null and seen & 3 = 3"),
    )
    op.drop_index(
        "deliveries_by_status",
        table_name="deliveries",
        postgresql_where=sa.text("app is not null"),
        sqlite_where=sa.text("app is not null"),
    )
    op.drop_table("deliveries")
    op.drop_table("api_keys")
