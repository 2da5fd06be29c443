"""The register of the disks that store checkpoints: each one's newest, and its last heartbeat."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.engine import Database
from app.store.tables import evidence_disks
from app.store.upsert import upsert

PATIENCE = 10.0
"""Seconds for the database to answer."""


@dataclass(frozen=True, slots=True)
class DiskRow:
    """A disk's last heartbeat. ``size``: of its newest checkpoint of the log; -1: see
    ``app.record.evidence.peer_disks``.
    """

    id: str
    first_seen_at: datetime
    seen_at: datetime
    log: int
    size: int


class EvidenceDisks:
    """Every replica's disk. Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(self, id_: str, *, log: int, size: int, at: datetime) -> None:
        """Record a disk's heartbeat, and the newest checkpoint that it has."""
        values = {"seen_at": at, "log": log, "size": size}
        async with self._database.write(patience=PATIENCE) as connection:
            new = upsert(connection, evidence_disks).values(id=id_, first_seen_at=at, **values)
            await connection.execute(new.on_conflict_do_update(index_elements=["id"], set_=values))

    async def all(self) -> list[DiskRow]:
        """Every disk that ever reported."""
        async with self._database.read(patience=PATIENCE) as connection:
            return await read_disks(connection)


async def read_disks(connection: AsyncConnection) -> list[DiskRow]:
    """Every disk that ever reported."""
    rows = await connection.execute(select(*evidence_disks.c))
    return [DiskRow(*row) for row in rows]
