"""The replicas' disks as each other's memory: who may sign after the database has forgotten.

A checkpoint is shown once every disk that is there has it, so that any of them knows it when the
database is rolled back. A disk that knows nothing of a log may sign for it only after another that
does has been heard of since, in the database as it is now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from app.errors import Unavailable
from app.record.evidence.disk import KnownCheckpoints
from app.store.evidence.disks import DiskRow, EvidenceDisks
from app.store.evidence.rows import CheckpointRow

HEARD_EVERY = timedelta(seconds=5)
"""How often a disk without news says that it is there."""
THERE = timedelta(seconds=15)
"""A disk that was not heard of for so long is not waited for, and after so long without any other a
new origin begins."""
CONFIRMED_WITHIN = 4.0
"""Seconds for the others to have a checkpoint before whoever asked for it is told to ask again."""


class Witnesses:
    """This process's disk among the others'. Raises StoreUnavailable."""

    def __init__(
        self,
        *,
        disks: EvidenceDisks,
        known: KnownCheckpoints,
        now: Callable[[], datetime],
        there: timedelta = THERE,
    ) -> None:
        self._disks = disks
        self._known = known
        self._now = now
        self._there = there
        self._reported: tuple[int, int, datetime] | None = None

    async def disks(self) -> list[DiskRow]:
        """Every disk that was ever there."""
        return await self._disks.all()

    async def report(self, log: int, size: int) -> None:
        """This disk has a checkpoint; said if that is news, or some time has passed."""
        now = self._now()
        last = self._reported
        if last is None or last[:2] != (log, size) or now - last[2] >= HEARD_EVERY:
            id_ = await asyncio.to_thread(self._known.id)
            await self._disks.report(id_, log=log, size=size, at=now)
            self._reported = (log, size, now)

    async def confirm(self, checkpoint: CheckpointRow) -> None:
        """Wait until every disk that is there has a checkpoint. Raises Unavailable."""
        deadline = asyncio.get_running_loop().time() + CONFIRMED_WITHIN
        while not await self._is_confirmed(checkpoint):
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable("A replica has not yet kept the new checkpoint")
            await asyncio.sleep(0.1)

    async def _is_confirmed(self, checkpoint: CheckpointRow) -> bool:
        mine = await asyncio.to_thread(self._known.id)
        since = self._now() - self._there
        return all(
            (disk.log, disk.size) >= (checkpoint.log, checkpoint.size)
            for disk in await self._disks.all()
            if disk.id != mine and disk.seen_at >= since
        )

    async def may_adopt(self, checkpoint: CheckpointRow, disks: Sequence[DiskRow]) -> bool | None:
        """Whether this disk, which knows nothing of the log, may take the database's word for it;
        None: not decided yet.
        """
        mine = await asyncio.to_thread(self._known.id)
        me = next((disk for disk in disks if disk.id == mine), None)
        if me is None:
            return None
        if any(
            disk.seen_at > me.first_seen_at
            and (disk.log, disk.size) >= (checkpoint.log, checkpoint.size)
            for disk in disks
            if disk.id != mine
        ):
            return True
        return None if self._now() - me.first_seen_at < self._there else False
