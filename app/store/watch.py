"""Whether the database can be used right now, as far as this process knows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from app.errors import SchemaBehind, StoreRefused, StoreUnavailable

CHECK_EVERY = 0.5
"""Seconds between checks while it is away: short, since every one of them ends an outage."""
CHECK_PATIENCE = 2.0
"""Seconds that a check may take; a silent connection is as good as none."""

log = structlog.get_logger(__name__)


class DatabaseWatch:
    """Believes what is reported, and checks by itself only while the database is away.

    ``check`` raises StoreUnavailable or SchemaBehind where the database is not to be used.
    """

    def __init__(self, check: Callable[[], Awaitable[None]]) -> None:
        self._check = check
        self._checks: set[asyncio.Task[None]] = set()
        self._went_down = asyncio.Event()
        self._came_up = asyncio.Event()
        self.reason: str | None = "not checked yet"

    @property
    def is_up(self) -> bool:
        """Whether it was fine when last heard of."""
        return self.reason is None

    def report_down(self, reason: str) -> None:
        """A write failed or was too slow: nothing is sent there before a check has succeeded."""
        if self.reason is None:
            log.error("database_away", reason=reason, consequence="receipts go to the spool")
        self.reason = reason
        self._came_up.clear()
        self._went_down.set()

    async def wait_until_up(self) -> None:
        """Return when the database can be used."""
        await self._came_up.wait()

    async def check_now(self) -> None:
        """Check, within CHECK_PATIENCE. Raises SchemaBehind: waiting does not mend that."""
        try:
            await self._check_bounded()
        except SchemaBehind as error:
            self.report_down(error.detail)
            raise
        except (StoreUnavailable, StoreRefused) as error:
            self.report_down(error.detail)
        else:
            if self.reason is not None:
                log.info("database_up", was=self.reason)
            self.reason = None
            self._went_down.clear()
            self._came_up.set()

    async def run(self) -> None:
        """Check again and again while it is away. Runs until cancelled."""
        while True:
            await self._went_down.wait()
            try:
                await self.check_now()
            except SchemaBehind as error:
                log.error("schema_behind", detail=error.detail)
            if not self.is_up:
                await asyncio.sleep(CHECK_EVERY)

    async def _check_bounded(self) -> None:
        # A cancelled database call may take many seconds to end, so it is left to end by itself.
        task = asyncio.create_task(self._run_check())
        self._checks.add(task)
        task.add_done_callback(self._forget)
        done, _ = await asyncio.wait({task}, timeout=CHECK_PATIENCE)
        if not done:
            task.cancel()
            raise StoreUnavailable(f"it did not answer within {CHECK_PATIENCE:g} s")
        task.result()

    async def _run_check(self) -> None:
        await self._check()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._checks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: a late failure of a check nobody waits for is no news
