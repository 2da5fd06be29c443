"""Each attempt at a delivery to a webhook is kept, and not the last one alone.

Old processes write no attempts to it; deliveries from before have none.
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
