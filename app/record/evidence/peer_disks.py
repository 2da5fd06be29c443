"""The disks of all replicas, by which a database that was rolled back is detected.

A checkpoint is published once every live disk has it, so that each of them detects a database that
was rolled back behind it. A disk without checkpoints of a log, such as a new replica's, may adopt
the log only after another disk that has them has sent a heartbeat to the database as it is now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from app.errors import Unavailable
from app.record.evidence.disk import KnownCheckpoints
from app.store.evidence.disks import DiskRow, EvidenceDisks
from app.store.evidence.rows import CheckpointRow

HEARTBEAT_EVERY = timedelta(seconds=5)
"""How often a disk whose newest checkpoint stays the same reports that it is live."""
LIVE_FOR = timedelta(seconds=15)
"""A disk without a heartbeat for so long is not waited for. A new disk that has waited so long for
another one's heartbeat begins a new origin."""
SAVED_WITHIN = 4.0
"""Seconds for the other disks to save a checkpoint before its publication fails."""


class PeerDisks:
    """This process's disk among those of all replicas. Raises StoreUnavailable."""

    def __init__(
        self,
        *,
        disks: EvidenceDisks,
        known: KnownCheckpoints,
        now: Callable[[], datetime],
    ) -> None:
        self._disks = disks
        self._known = known
        self._now = now
        self._reported: tuple[int, int, datetime] | None = None

    async def all(self) -> list[DiskRow]:
        """Every disk that ever reported."""
        return await self._disks.all()

    async def report(self, log: int, size: int) -> None:
        """Send this disk's heartbeat: the size of its newest checkpoint of the log, or -1 where it
        has none, or a larger one than the database. If unchanged, only every HEARTBEAT_EVERY.
        """
        now = self._now()
        last = self._reported
        if last is None or last[:2] != (log, size) or now - last[2] >= HEARTBEAT_EVERY:
            id_ = await asyncio.to_thread(self._known.id)
            await self._disks.report(id_, log=log, size=size, at=now)
            self._reported = (log, size, now)

    async def wait_until_saved(self, checkpoint: CheckpointRow) -> None:
        """Wait until every live disk has a checkpoint. Raises Unavailable after SAVED_WITHIN."""
        deadline = asyncio.get_running_loop().time() + SAVED_WITHIN
        while not await self._is_saved(checkpoint):
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable("Another replica has not saved the new checkpoint yet: try again")
            await asyncio.sleep(0.1)

    async def _is_saved(self, checkpoint: CheckpointRow) -> bool:
        mine = await asyncio.to_thread(self._known.id)
        since = self._now() - LIVE_FOR
        return all(
            (disk.log, disk.size) >= (checkpoint.log, checkpoint.size)
            for disk in await self._disks.all()
            if disk.id != mine and disk.seen_at >= since
        )

    async def may_adopt(self, checkpoint: CheckpointRow, disks: Sequence[DiskRow]) -> bool | None:
        """Whether this disk, which has no checkpoint of the log, may trust the database's newest
        one: another disk that has one as large sent a heartbeat after this disk's first. False:
        none did for LIVE_FOR. None: undecided until then.
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
        return None if self._now() - me.first_seen_at < LIVE_FOR else False
