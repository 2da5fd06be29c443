"""Whether the database can be used, by what this process's writers and checks report."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from app.errors import SchemaBehind, ServiceError, StoreUnavailable

CHECK_EVERY = 0.5
"""Seconds between checks while it is away: short, since the outage may have ended at any time."""
CHECK_PATIENCE = 2.0
"""Seconds that a check may take; a silent connection counts as failed."""
FRESH = 1.0
"""Seconds for which a check's result is reused, however many callers ask."""
STEADY = 10.0
"""Seconds that it must have been up for the next failure to count as a new outage."""
LONGEST_REST = 5.0
"""Seconds at most before the next check when checks succeed and writes fail: each time that it
counts as up, some receipts wait for their whole timeout."""

_NAMES = re.compile(r"""\"[^"]*\"|(?<!\w)'[^']*'|\([^)]*\)|(?<!\w)/[^\s,;:]+|\b\d+(?:\.\d+){3}\b""")
"""What errors of drivers name that strangers must not see: users, databases, addresses, paths."""

log = structlog.get_logger(__name__)


class DatabaseWatch:
    """Relies on what writers report, and checks by itself only while the database is away.

    ``check`` raises StoreUnavailable or SchemaBehind if the database is not to be used.
    ``on_down`` is called at the first report of each outage, ``on_up`` at its end.
    """

    def __init__(
        self,
        check: Callable[[], Awaitable[None]],
        *,
        on_down: Callable[[], None] | None = None,
        on_up: Callable[[], None] | None = None,
        name: str = "",
        patience: float = CHECK_PATIENCE,
    ) -> None:
        """``name``: the database's, with which errors begin. ``patience``: seconds for a check."""
        self._check = check
        self._on_down = on_down
        self._on_up = on_up
        self._name = name
        self._patience = patience
        self._checks: set[asyncio.Task[None]] = set()
        self._went_down = asyncio.Event()
        self._came_up = asyncio.Event()
        self._up_since = float("-inf")
        self._rest = 0.0
        self._checks_failed = 0
        self._checked_at = float("-inf")
        self.reason: str | None = "not checked yet"

    @property
    def is_up(self) -> bool:
        """Whether it could be used by the latest report or check."""
        return self.reason is None

    @property
    def public_reason(self) -> str | None:
        """``reason`` for strangers: without hosts, paths, users and the name of the database."""
        if self.reason is None:
            return None
        return _NAMES.sub("…", self.reason.removeprefix(f"{self._name}: "))

    def report_down(self, reason: str) -> None:
        """A write failed or was too slow: none is tried again before a check has succeeded."""
        if self.reason is None:
            log.error("database_away", reason=reason, consequence="receipts go to the spool")
            self._rest = self._rest_before_checking()
            self._checks_failed = 0
            if self._on_down:
                self._on_down()
        self.reason = reason
        self._came_up.clear()
        self._went_down.set()

    async def wait_until_up(self) -> None:
        """Wait until the database can be used."""
        await self._came_up.wait()

    async def check_now(self) -> None:
        """Check, within its patience, and keep the outcome. Raises only SchemaBehind."""
        self._checked_at = asyncio.get_running_loop().time()
        try:
            await self._check_bounded()
        except SchemaBehind as error:
            self.report_down(error.detail)
            raise
        except ServiceError as error:
            self.report_down(error.detail)
        except Exception as error:
            log.exception("database_check_failed", consequence="it counts as away")
            self.report_down(f"the check itself failed: {type(error).__name__}")
        else:
            self._report_up()

    async def check_if_old(self) -> None:
        """Check if it counts as up and the latest check is older than FRESH."""
        if self.is_up and asyncio.get_running_loop().time() - self._checked_at >= FRESH:
            with suppress(SchemaBehind):  # ``reason`` has it then
                await self.check_now()

    async def run(self) -> None:
        """Check again and again while it is away. Runs until cancelled."""
        while True:
            await self._went_down.wait()
            await asyncio.sleep(self._rest)
            is_behind = False
            while not self.is_up:
                try:
                    await self.check_now()
                except SchemaBehind as error:
                    if not is_behind:  # once, not at every check, nor at every migration
                        log.error("schema_behind", detail=error.detail)
                    is_behind = True
                if not self.is_up:
                    self._checks_failed += 1
                    await asyncio.sleep(CHECK_EVERY)

    def _report_up(self) -> None:
        if self.reason is not None:
            log.info("database_up", was=self.reason)
            self._up_since = asyncio.get_running_loop().time()
            if self._on_up:
                self._on_up()
        self.reason = None
        self._went_down.clear()
        self._came_up.set()

    def _rest_before_checking(self) -> float:
        """Seconds until the first check: 0, so that a short outage ends at once; doubled each time
        while checks succeed and writes fail.
        """
        was_up = asyncio.get_running_loop().time() - self._up_since
        if was_up > STEADY or self._checks_failed:
            return 0.0
        return min(max(2 * self._rest, CHECK_EVERY), LONGEST_REST)

    async def _check_bounded(self) -> None:
        # A cancelled database call may take many seconds to end, so it is not waited for.
        task = asyncio.create_task(self._run_check())
        self._checks.add(task)
        task.add_done_callback(self._forget)
        done, _ = await asyncio.wait({task}, timeout=self._patience)
        if not done:
            task.cancel()
            why = f"it did not answer within {self._patience:g} s"
            raise StoreUnavailable(f"{self._name}: {why}" if self._name else why)
        task.result()

    async def _run_check(self) -> None:
        await self._check()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._checks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it: the check had timed out
