"""What the journals of the processes are compared with (docs/architecture.md, "The journal")."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table, Text, Uuid, text

from app.store.column_types import UtcTime
from app.store.tables.metadata import metadata

# An incarnation is the database between two moments at which it forgot something. The first to
# notice writes the next row.
incarnations = Table(
    "incarnations",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("nonce", Uuid, nullable=False, unique=True),
    Column("generation", Text, nullable=False),  # which server, timeline and start it was seen in
    Column("last_event", BigInteger, nullable=False),  # none later is known to the one before
    Column("begun_at", UtcTime, nullable=False),
    Column("noticed_by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("released_at", UtcTime),  # an operator says: wait for nobody any more
)
# One row for each journal, that is for each process that runs or has died; a stop says so.
processes = Table(
    "processes",
    metadata,
    Column("name", Text, primary_key=True),  # the journal's folder
    Column("host", Text, nullable=False),
    Column("beat", Uuid, nullable=False),  # swapped every second
    Column("mark", Uuid),  # the newest: what the journal has before it is in the database
    Column("knows", Text, nullable=False),  # names of the others that it would wait for
    Column("incarnation", Uuid),  # in which it has brought back everything; null: in none yet
    Column("last_event", BigInteger, nullable=False),  # the newest event at the last beat
    Column("is_stopped", Integer, nullable=False, server_default=text("0")),
    Column("seen_at", UtcTime, nullable=False),  # by the database's clock
)
# At most one row: nothing that is queued is sent, by any process.
queue_holds = Table(
    "queue_holds",
    metadata,
    Column("name", Text, primary_key=True),
    Column("held_at", UtcTime, nullable=False),
    Column("held_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
# What an operator settled: messages of before that were QUEUED became UNCONFIRMED.
queue_settlements = Table(
    "queue_settlements",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("before", UtcTime, nullable=False),
    Column("settled_at", UtcTime, nullable=False),
    Column("settled_by", Text, nullable=False),
)
