"""The scope `webhooks`, given to keys that could change webhooks so far; the key of each webhook.

So far `read` allowed changing webhooks, so keys with it go on managing theirs. A pause that a
receiver asks for by Retry-After now ends after an hour: longer ones that are stored are shortened.
"""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

from app.store.online import add_column

revision = "0002_webhooks"
down_revision = "0001"
branch_labels = None
depends_on = None

locks = "webhooks: ACCESS EXCLUSIVE for a moment; rows of api_keys, webhooks and webhook_deliveries"
loses = "which key made each webhook"

_LONGEST_PAUSE = timedelta(hours=1)


def upgrade() -> None:
    add_column("webhooks", sa.Column("key_id", sa.Text(), nullable=True))
    op.execute(
        "update api_keys set scopes = scopes || ' webhooks'"
        " where ' ' || scopes || ' ' like '% read %'"
        " and ' ' || scopes || ' ' not like '% webhooks %'"
    )
    latest = datetime.now(UTC) + _LONGEST_PAUSE
    for name, column in (("webhooks", "not_before"), ("webhook_deliveries", "next_attempt_at")):
        at = sa.column(column, sa.DateTime(timezone=True))
        table = sa.table(name, at)
        op.execute(sa.update(table).where(at > latest).values({column: latest}))


def downgrade() -> None:
    # Keys keep the scope `webhooks`: the release before does not look at it.
    op.drop_column("webhooks", "key_id")
