"""A type for batches of receipts as one array; events name receipts for the evidence log.

A batch of receipts was fourteen arrays, and the driver examined each element of each. And for each
receipt a row was queued for the evidence log, and deleted when the log had it. Now the event that a
receipt causes names it, and only a receipt without an event has such a row. Processes of the release
before go on queueing rows for all of them, write events that name none, and count by ``position``
alone what they have read.
"""

import sqlalchemy as sa
from alembic import op

from app.store.online import add_column

revision = "0017_evidence_queue"
down_revision = "0016_attempts"
branch_labels = None
depends_on = None

locks = "events and evidence_logs: adds a column to each"
loses = None  # receipts that the log has not read yet are queued by rows again

_TYPE = """
create type arrived_receipt as (
  id uuid, sms_activity_id text, digest bytea, status text, status_key bigint, at bigint,
  received_at bigint, body bytea, hint uuid, flag integer, delivery_status text,
  status_reason text, receipt_timestamp text, time_quality text)
"""
# Queues receipts that the log has not read yet by rows, as the release before does.
_ROWS_AGAIN = """
insert into evidence_pending (sms_activity_id, digest)
select sms_activity_id, digest from events
where digest is not null and id > (select max(receipts_position) from evidence_logs)
  and exists (select * from evidence_logs where ended_at is null)
order by id
"""


def upgrade() -> None:
    add_column("events", sa.Column("digest", sa.LargeBinary(), nullable=True))
    add_column("evidence_logs", sa.Column("receipts_position", sa.BigInteger(), nullable=True))
    op.execute(
        "update evidence_logs set receipts_position = position where receipts_position is null"
    )
    if op.get_bind().dialect.name == "postgresql":
        # Hashes cannot be compressed; by default every append would try.
        op.execute("alter table evidence_tiles alter column hashes set storage external")
        if not _has_type():
            op.execute(_TYPE)


def downgrade() -> None:
    op.execute(_ROWS_AGAIN)
    op.drop_column("evidence_logs", "receipts_position")
    op.drop_column("events", "digest")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("alter table evidence_tiles alter column hashes set storage extended")
        op.execute("drop type arrived_receipt")


def _has_type() -> bool:
    """Whether the type exists: a migration that ended half-way is run again from its start."""
    found = op.get_bind().execute(sa.text("select to_regtype('arrived_receipt')"))
    return found.scalar() is not None
