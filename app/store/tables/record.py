"""The audit, retention and erasure."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    text,
)

from app.store.column_types import UtcTime
from app.store.tables.metadata import metadata

# Append-only: only erasures and purges change or delete entries.
audit = Table(
    "audit",
    metadata,
    Column("id", Uuid, primary_key=True),  # version 7: in the order of time
    Column("at", UtcTime, nullable=False),
    Column("who", Text, nullable=False),
    Column("app", Text),  # the key's
    Column("address", Text),  # where the request came from
    Column("action", Text, nullable=False),
    Column("what", Text),  # the id of what was acted on
    Column("destination", Text),  # searched for, like the reference: erasures find them here
    Column("reference", Text),
    Column("details", Text),  # JSON
    Column("once", Text),  # a key for deduplication: of several entries with one, one is kept
    Column("times", Integer, nullable=False, server_default=text("1")),
)
Index("audit_once", audit.c.once, unique=True)
Index("audit_by_who", audit.c.who, audit.c.id.desc())
Index("audit_by_app", audit.c.app, audit.c.id.desc())
Index("audit_by_action", audit.c.action, audit.c.id.desc())
Index("audit_by_what", audit.c.what, audit.c.id.desc())
Index("audit_by_time", audit.c.at)
Index(
    "audit_by_destination",
    audit.c.destination,
    postgresql_where=text("destination is not null"),
    sqlite_where=text("destination is not null"),
)
Index(
    "audit_by_reference",
    audit.c.reference,
    postgresql_where=text("reference is not null"),
    sqlite_where=text("reference is not null"),
)

# One row for each task of retention: how far it has come, and the lease of the process at it.
retention = Table(
    "retention",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", Uuid),  # of texts: messages up to this id were looked at
    Column("number", BigInteger),  # of events: those up to this number are deleted
    Column("done_at", UtcTime),
    Column("lease", Uuid),
    Column("lease_until", UtcTime),
)
# Messages whose texts were not dropped when retention came to them: they were waiting to be sent,
# or had changed their state too recently.
retention_waiting = Table("retention_waiting", metadata, Column("id", Uuid, primary_key=True))

erasures = Table(
    "erasures",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("requested_at", UtcTime, nullable=False),
    Column("who", Text, nullable=False),
    Column("app", Text),
    Column("digest", LargeBinary),  # of the number, under DLR_ERASURE_KEY
    Column("number", Text),  # null once it is completed
    Column("counts", Text, nullable=False),  # JSON
    Column("erased_at", UtcTime),  # when the database was done
    Column("completed_at", UtcTime),  # when every disk had confirmed, too
    Column("lease", Uuid),
    Column("lease_until", UtcTime),
)
Index(
    "erasures_open",
    erasures.c.requested_at,
    postgresql_where=text("completed_at is null"),
    sqlite_where=text("completed_at is null"),
)
Index("erasures_by_digest", erasures.c.digest)

# Ids of what was erased: messages, rejected calls, audit entries, unmatched receipts, fingerprints
# of idempotency keys. After a restore these are erased again, and bodies of receipts that come
# later are not stored.
erased = Table(
    "erased",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("sms_activity_id", Text),
    Column("erased_at", UtcTime, nullable=False),
)
Index("erased_by_sms_activity_id", erased.c.sms_activity_id)
Index("erased_by_time", erased.c.erased_at)

# The disks that processes write to: each confirms what was erased from it.
disks = Table(
    "disks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("host", Text, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("root", Uuid),  # the folder that has it and the disks of other processes
)
erasure_confirmations = Table(
    "erasure_confirmations",
    metadata,
    Column("erasure_id", Uuid, ForeignKey("erasures.id", ondelete="CASCADE"), primary_key=True),
    Column("disk_id", Uuid, ForeignKey("disks.id", ondelete="CASCADE"), primary_key=True),
    Column("confirmed_at", UtcTime, nullable=False),
)
