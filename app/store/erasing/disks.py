"""The disks (spool and journal) that processes write to, and their confirmations of erasures."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.audit import Entry
from app.store.audit import append
from app.store.engine import Database
from app.store.tables import disks, erasure_confirmations, erasures, processes
from app.store.upsert import upsert

PATIENCE = 30.0
"""Seconds for a transaction."""
_JOURNAL = re.compile("[0-9a-f]{32}")
"""The name of a process that has a journal: the hex digits of its disk's id."""


class DiskStore:
    """Every method may be repeated. Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.now = database.clock.now

    async def see_disk(self, disk: UUID, host: str, *, root: UUID | None = None) -> None:
        """Register the disk that a process writes to. ``root``: the id of the folder it is in."""
        values = {"host": host, "seen_at": self.now(), "root": root}
        async with self._database.write(patience=PATIENCE) as connection:
            new = upsert(connection, disks).values(id=disk, **values)
            await connection.execute(new.on_conflict_do_update(index_elements=["id"], set_=values))

    async def forget_disks(self, root: UUID, *, but: Collection[UUID]) -> None:
        """Forget the disks of this folder that are gone from it: all ``but`` these."""
        gone = (disks.c.root == root) & disks.c.id.not_in(but)
        async with self._database.write(patience=PATIENCE) as connection:
            await connection.execute(delete(disks).where(gone))

    async def strike_disk(self, disk: UUID, *, entry: Entry | None = None) -> bool:
        """Have erasures not wait for a disk that is gone for good; False if there is none with this
        id. ``entry`` is the audit's.

        If its process was not stopped in order it may come back: then the disk only counts as
        confirmed for the erasures that are open now.
        """
        open_ = select(erasures.c.id).where(erasures.c.completed_at.is_(None))
        async with self._database.write(patience=PATIENCE) as connection:
            process = next((row for row in await _running(connection) if row.id == disk.hex), None)
            if process is None:
                gone = await connection.execute(delete(disks).where(disks.c.id == disk))
                await append(connection, [entry] if gone.rowcount else [])
                return gone.rowcount > 0
            await append(connection, [entry])
            new = upsert(connection, disks).on_conflict_do_nothing()
            row = {"id": disk, "host": process.host, "seen_at": process.seen_at}
            await connection.execute(new, row)
            new = upsert(connection, erasure_confirmations).on_conflict_do_nothing()
            for erasure_id in (await connection.execute(open_)).scalars().all():
                row = {"erasure_id": erasure_id, "disk_id": disk, "confirmed_at": self.now()}
                await connection.execute(new, row)
        return True

    async def confirm(self, erasure_id: UUID, disk: UUID) -> None:
        """Record that this disk has nothing of the erasure's number any more."""
        async with self._database.write(patience=PATIENCE) as connection:
            new = upsert(connection, erasure_confirmations)
            await connection.execute(
                new.on_conflict_do_nothing(),
                {"erasure_id": erasure_id, "disk_id": disk, "confirmed_at": self.now()},
            )


async def _running(connection: AsyncConnection) -> list[Row[*tuple[Any, ...]]]:
    """Processes with a journal that were not stopped; ``id`` is their name, that of their disk."""
    column = processes.c
    running = select(column.name.label("id"), column.host, column.seen_at)
    rows = await connection.execute(running.where(column.is_stopped == 0))
    return [row for row in rows if _JOURNAL.fullmatch(row.id)]


async def unregistered(connection: AsyncConnection) -> list[Row[*tuple[Any, ...]]]:
    """Running processes whose disks are not registered yet: erasures wait for those, too."""
    known = {one.hex for one in (await connection.execute(select(disks.c.id))).scalars()}
    return [row for row in await _running(connection) if row.id not in known]
