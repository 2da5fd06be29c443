"""Events say whether the message was contradictory, and whether that alone has changed.

Both columns have constant defaults, so no row is rewritten, and a process of the release before
goes on writing events. Events from before say that the message was not contradictory.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005_contradicted"
down_revision = "0004_one_spelling"
branch_labels = None
depends_on = None

locks = "events: ACCESS EXCLUSIVE for a moment"
loses = "which events say that a message was contradictory"

_COLUMNS = ("contradictory", "status_stays")


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column(
            "events", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())
        )


def downgrade() -> None:
    for name in reversed(_COLUMNS):
        op.drop_column("events", name)
