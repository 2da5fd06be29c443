"""Indexes of unmatched ids by their first receipt's arrival, and of webhook deliveries by message.

`deliveries.received_at` is when the first receipt of an id came. The index on it has only ids
without a message, so it costs nothing where a message comes first.
"""

import sqlalchemy as sa
from alembic import op

from app.store.online import add_column, create_index, drop_index, update_in_batches

revision = "0003_telling"
down_revision = "0002_webhooks"
branch_labels = None
depends_on = None

locks = (
    "deliveries: ACCESS EXCLUSIVE for a moment, then rows in batches; indexes on deliveries and"
    " webhook_deliveries are made while both are written"
)
loses = None  # what it fills in is in the receipts

_UNMATCHED = "message_id is null and received_at is not null"
_TOLD = "message_id is not null"


def upgrade() -> None:
    add_column("deliveries", sa.Column("received_at", sa.DateTime(timezone=True)))
    update_in_batches(
        "deliveries",
        "sms_activity_id",
        "received_at = (select min(received_at) from receipts"
        " where receipts.sms_activity_id = deliveries.sms_activity_id)",
        "message_id is null and received_at is null",
    )
    create_index(
        "deliveries_unmatched",
        "deliveries",
        ["received_at", "sms_activity_id"],
        postgresql_where=sa.text(_UNMATCHED),
        sqlite_where=sa.text(_UNMATCHED),
    )
    create_index(
        "webhook_deliveries_by_message",
        "webhook_deliveries",
        ["message_id"],
        postgresql_where=sa.text(_TOLD),
        sqlite_where=sa.text(_TOLD),
    )


def downgrade() -> None:
    drop_index("webhook_deliveries_by_message", "webhook_deliveries")
    drop_index("deliveries_unmatched", "deliveries")
    op.drop_column("deliveries", "received_at")
