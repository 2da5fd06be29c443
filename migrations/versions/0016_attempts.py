"""A log of the attempts at each delivery to a webhook, of which only the last one was stored.

Processes of the release before write nothing to it; deliveries from before have none.
"""

import sqlalchemy as sa
from alembic import op

from app.store.online import add_column

revision = "0016_attempts"
down_revision = "0015_one_index"
branch_labels = None
depends_on = None

locks = "webhook_deliveries: adds a column"
loses = "the attempts at each delivery but for the last one's result, and what receivers answered"


def upgrade() -> None:
    add_column("webhook_deliveries", sa.Column("attempt_log", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("webhook_deliveries", "attempt_log")
