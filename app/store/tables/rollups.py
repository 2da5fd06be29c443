"""Roll-ups of messages by the hour in which they were created."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table, Text, text

from app.store.column_types import UtcTime
from app.store.tables.metadata import metadata

# One row: up to which event hours are marked as changed, and when that was last done.
rollups = Table(
    "rollups",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("noted_at", UtcTime, nullable=False),
)

# Every hour that is over. A change of one of its messages raises `changes`. `counted` is `changes`
# as it was when its messages were counted: the counts hold while the two are equal.
rollup_hours = Table(
    "rollup_hours",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False),  # UTC's, since 1970
    Column("changes", BigInteger, nullable=False, server_default=text("0")),
    Column("counted", BigInteger),
    Column("counted_at", UtcTime),
    Column("messages", Integer),
)

# Numbers of messages. `kind` says what `key` is: a reason, an origin, whole seconds to delivery, or
# nothing.
rollup_counts = Table(
    "rollup_counts",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("app", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("status", Text, primary_key=True),
    Column("messages", Integer, nullable=False),
)
