"""Keys that expire, and when each was last used.

Only new columns, which the release before neither reads nor has to fill. To that release an expired
key is valid: give no key an expiry before all processes run this release.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008_keys"
down_revision = "0007_journal"
branch_labels = None
depends_on = None

locks = "api_keys: ACCESS EXCLUSIVE for a moment"
loses = "when keys expire, and when they were last used"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("expires_at", sa.DateTime(timezone=True)))
    op.add_column("api_keys", sa.Column("last_used_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    with op.batch_alter_table("api_keys") as table:
        table.drop_column("last_used_at")
        table.drop_column("expires_at")
