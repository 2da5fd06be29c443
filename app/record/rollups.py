"""Keeps the hourly roll-ups that the overview is read from. One process at a time does.

A run reads the events since the last one and counts the hours that they are about, but no more
messages than MOST again, so that hours to which receipts keep coming do not keep the database busy.
Between two counts it rests for longer than a count takes.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from uuid import uuid4

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.store.retention import RetentionStore
from app.store.rollups import RollupStore, StaleHour

NAME = "rollups"
EVERY = timedelta(seconds=10)
MOST = 100_000
"""Messages that are counted again in one run: about 0.2 s of PostgreSQL."""
HOURS = 20
"""Stale hours that are read at once."""
LEAST = 500
"""The fixed cost of a count, in messages."""
REST = 2.0
"""The pause after a count, in multiples of its duration."""

log = structlog.get_logger(__name__)


class Roller:
    """``tasks`` leases the work to one process; ``rest``: see REST."""

    def __init__(self, store: RollupStore, tasks: RetentionStore, *, rest: float = REST) -> None:
        self._store = store
        self._tasks = tasks
        self._rest = rest
        self._lease = uuid4()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if await self._tasks.claim(NAME, lease=self._lease, every=EVERY):
                    await self.run_once()
                    await self._tasks.finish(NAME, lease=self._lease)
            except (StoreUnavailable, StoreRefused) as error:
                log.warning("rollups_wait", reason=error.detail)
            except Exception:
                log.exception("rollups_failed")
            await asyncio.sleep(EVERY.total_seconds())

    async def run_once(self) -> None:
        """Do one run. Hours that were never counted are all counted, however many there are."""
        while await self._store.notice():
            await self._tasks.renew(NAME, lease=self._lease)
        left = MOST
        while left > 0 and (stale := await self._store.stale(HOURS)):
            for one in stale:
                messages = await self._count(one)
                if one.messages is not None:
                    left -= max(LEAST, messages)
            await self._tasks.renew(NAME, lease=self._lease)

    async def _count(self, stale: StaleHour) -> int:
        began = time.monotonic()
        messages = await self._store.count(stale)
        await asyncio.sleep((time.monotonic() - began) * self._rest)
        return messages
