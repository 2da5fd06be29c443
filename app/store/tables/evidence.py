"""The evidence log (docs/evidence.md)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text, text

from app.store.column_types import SERIAL, UtcTime
from app.store.tables.metadata import metadata

# Evidence (docs/evidence.md). One row for each origin; the last one, while it has not ended, is the
# log to which facts are appended. Without it nothing is collected.
evidence_logs = Table(
    "evidence_logs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("origin", Text, nullable=False, unique=True),
    Column("began_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    # Events up to here are in the log; and their receipts, which releases before 0017 do not count.
    Column("position", BigInteger, nullable=False),
    Column("receipts_position", BigInteger),
)
evidence_facts = Table(
    "evidence_facts",
    metadata,
    Column("log", Integer, primary_key=True),
    Column("idx", BigInteger, primary_key=True),
    Column("subject", LargeBinary, nullable=False),  # whose facts are numbered together
    Column("number", Integer, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("fact", Text, nullable=False),
    Column("salts", LargeBinary, nullable=False),
    # Up to this fact: our own steps of the message that the log has, and whether iovox's id.
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
    Column("cosigned_at", UtcTime),  # when the first witness' line was added to the note
)
# Those that somebody outside vouches for: evidence is given with the first that covers it.
_VOUCHED_FOR = text("stamp is not null or cosigned_at is not null")
Index(
    "evidence_checkpoints_vouched_for",
    evidence_checkpoints.c.log,
    evidence_checkpoints.c.size,
    postgresql_where=_VOUCHED_FOR,
    sqlite_where=_VOUCHED_FOR,
)
# The disks that checkpoints are kept on, and the newest one that each has.
evidence_disks = Table(
    "evidence_disks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("first_seen_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("log", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
)
# What the log does not have yet: receipts that no event names (of the others it reads the events),
# written with them and deleted with their appending, and facts of other kinds, of which nothing
# else remains that they could be made from.
evidence_pending = Table(
    "evidence_pending",
    metadata,
    Column("id", SERIAL, primary_key=True, autoincrement=True),
    Column("sms_activity_id", Text),
    Column("digest", LargeBinary),
    Column("fact", Text),  # JSON: {"message", "type", "fields"}
)
