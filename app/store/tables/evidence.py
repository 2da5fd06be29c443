"""The evidence log (docs/evidence.md)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text, text

from app.store.column_types import SERIAL, UtcTime
from app.store.tables.metadata import metadata

# One row for each origin. The last one, while it has not ended, is the log that facts are appended
# to; without it nothing is enqueued.
evidence_logs = Table(
    "evidence_logs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("origin", Text, nullable=False, unique=True),
    Column("began_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    # The id of the last event that was read into the log; and of the last one whose receipt was,
    # which releases from before migration 0017 do not write.
    Column("position", BigInteger, nullable=False),
    Column("receipts_position", BigInteger),
)
evidence_facts = Table(
    "evidence_facts",
    metadata,
    Column("log", Integer, primary_key=True),
    Column("idx", BigInteger, primary_key=True),
    Column("subject", LargeBinary, nullable=False),  # the key of its chain
    Column("number", Integer, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("fact", Text, nullable=False),
    Column("salts", LargeBinary, nullable=False),
    # Up to this fact of its chain: the number of the message's steps, and whether it is attached.
    Column("steps", Integer, nullable=False),
    Column("attached", Boolean, nullable=False),
)
Index("evidence_facts_by_subject", evidence_facts.c.subject, evidence_facts.c.number, unique=True)
evidence_tiles = Table(
    "evidence_tiles",
    metadata,
    Column("log", Integer, primary_key=True),
    Column("level", Integer, primary_key=True),
    Column("idx", BigInteger, primary_key=True),
    Column("hashes", LargeBinary, nullable=False),
)
evidence_checkpoints = Table(
    "evidence_checkpoints",
    metadata,
    Column("log", Integer, primary_key=True),
    Column("size", BigInteger, primary_key=True),
    Column("note", Text, nullable=False),
    Column("signed_at", UtcTime, nullable=False),
    Column("stamp", LargeBinary),  # RFC 3161
    Column("stamped_at", UtcTime),
    Column("cosigned_at", UtcTime),  # when the first co-signature was added to the note
)
# Those with a time stamp or a co-signature: a document shows the first of them that covers it.
_VOUCHED_FOR = text("stamp is not null or cosigned_at is not null")
Index(
    "evidence_checkpoints_vouched_for",
    evidence_checkpoints.c.log,
    evidence_checkpoints.c.size,
    postgresql_where=_VOUCHED_FOR,
    sqlite_where=_VOUCHED_FOR,
)
# The disks that checkpoints are stored on, each with its newest one and its last heartbeat.
evidence_disks = Table(
    "evidence_disks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("first_seen_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("log", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
)
# A queue of what is to be appended beside the events: receipts that no event names, by their keys,
# and facts of what leaves no row to make them from. A row is deleted when it is appended.
evidence_pending = Table(
    "evidence_pending",
    metadata,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("sms_activity_id", Text),
    Column("digest", LargeBinary),
    Column("fact", Text),  # JSON: {"message", "type", "fields"}
)
