"""The schema's revisions, the processes' reports, the shared state of metrics, and the alarms."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table, Text, Uuid

from app.store.column_types import UtcTime
from app.store.tables.metadata import metadata

# One row for each applied migration, for releases that do not know it (see `app.store.releases`).
schema_releases = Table(
    "schema_releases",
    metadata,
    Column("revision", Text, primary_key=True),
    Column("sequence", Integer, nullable=False),
    # The sequence of the oldest revision whose code can use the schema from this one on.
    Column("compatible_from", Integer, nullable=False),
    Column("breaking", Text),  # why older code cannot
    Column("applied_at", UtcTime),  # null: a migration announces it, and is about to begin
)


# One row: the service's state as it was last worked out, and the number of the newest turn to do so
# (see `app.store.operations`).
operations = Table(
    "operations",
    metadata,
    Column("name", Text, primary_key=True),
    Column("turn", BigInteger, nullable=False),  # grows, unless the database loses it
    Column("at", UtcTime, nullable=False),
    Column("state", Text, nullable=False),  # JSON
)
process_reports = Table(
    "process_reports",
    metadata,
    Column("id", Uuid, primary_key=True),  # of the process
    Column("at", UtcTime, nullable=False),
    Column("report", Text, nullable=False),  # JSON
)
# The latest occurrence of each alarm. It lasts while ended_at is null.
alarms = Table(
    "alarms",
    metadata,
    Column("name", Text, primary_key=True),
    Column("detail", Text, nullable=False),
    Column("began_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
)
