"""What the processes' journals are compared with: docs/architecture.md, "The journal", has the
terms (incarnation, beat, mark).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table, Text, Uuid, text

from app.store.column_types import UtcTime
from app.store.tables.metadata import metadata

# An incarnation is the database between two losses of data, such as a restore or a failover. The
# first process to notice one inserts the next row.
incarnations = Table(
    "incarnations",
    metadata,
    Column("n", Integer, primary_key=True),
    Column("nonce", Uuid, nullable=False, unique=True),
    Column("generation", Text, nullable=False),  # server, timeline and start when it was noticed
    Column("last_event", BigInteger, nullable=False),  # the last one that the one before had, too
    Column("begun_at", UtcTime, nullable=False),
    Column("noticed_by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("released_at", UtcTime),  # when an operator ended the wait for absent processes
)
# One row for each journal: for each process that runs, died, or was stopped recently.
processes = Table(
    "processes",
    metadata,
    Column("name", Text, primary_key=True),  # the journal's folder
    Column("host", Text, nullable=False),
    Column("beat", Uuid, nullable=False),  # a nonce, swapped every second
    Column("mark", Uuid),  # of the newest: the facts before it in the journal are in the database
    Column("knows", Text, nullable=False),  # names of the processes it has seen, space-separated
    Column("incarnation", Uuid),  # the last in which it has brought everything back; null: none
    Column("last_event", BigInteger, nullable=False),  # the newest event at the last beat
    Column("is_stopped", Integer, nullable=False, server_default=text("0")),
    Column("seen_at", UtcTime, nullable=False),  # by the database's clock
)
# At most one row: while it is there, no process sends queued messages.
queue_holds = Table(
    "queue_holds",
    metadata,
    Column("name", Text, primary_key=True),
    Column("held_at", UtcTime, nullable=False),
    Column("held_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
# Each time an operator made the messages UNCONFIRMED that were QUEUED and recorded before `before`.
queue_settlements = Table(
    "queue_settlements",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("before", UtcTime, nullable=False),
    Column("settled_at", UtcTime, nullable=False),
    Column("settled_by", Text, nullable=False),
)
