"""Keeps the database's clock known, and says when this host's differs or the database's was set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.store.clock import DatabaseClock
from app.store.engine import Database
from app.store.setback import SetbackStore

MEASURE_EVERY = 1.0
"""Seconds between measurements: for so long the time may be wrong after a clock was set."""
MEASURE_PATIENCE = 5.0
ALLOWED_OFFSET = 2.0
"""Seconds that a host's clock may differ from the database's before that is logged."""
SET_BACK = 2.0
"""Seconds by which a clock moves back only if it was set."""
LOOKS_AFTER_A_SETBACK = 10
"""How often, MEASURE_EVERY apart, rows dated in the future are looked for after that: what was
being written at that moment may be committed some seconds later."""

log = structlog.get_logger(__name__)


class ClockWatch:
    """Runs in every process. ``on_rescheduled`` is called when rows were rescheduled."""

    def __init__(
        self, database: Database, *, setback: SetbackStore, on_rescheduled: Callable[[], None]
    ) -> None:
        self._database = database
        self._clock: DatabaseClock = database.clock
        self._setback = setback
        self._on_rescheduled = on_rescheduled
        self._base: float | None = None
        self._differs = False

    async def run(self) -> None:
        """Measure until cancelled."""
        await self._clock.wait_until_known()
        was_set, looks_left = False, 1  # a clock may have been set while no process ran
        while True:
            if self._was_set_back():
                was_set, looks_left = True, LOOKS_AFTER_A_SETBACK
            self.compare()
            if looks_left and await self._reschedule(was_set=was_set):
                was_set, looks_left = False, looks_left - 1
            await asyncio.sleep(MEASURE_EVERY)
            await self._measure()

    def compare(self) -> None:
        """Log when the host's clock begins or ceases to differ from the database's."""
        ahead = self._clock.host_ahead
        differs = abs(ahead) > ALLOWED_OFFSET
        if differs and not self._differs:
            log.error(
                "host_clock_differs",
                seconds_ahead=round(ahead, 1),
                consequence="all times are the database's; ids and certificates are by the host's",
                todo="have NTP set both clocks",
            )
        elif self._differs and not differs:
            log.info("host_clock_agrees", seconds_ahead=round(ahead, 1))
        self._differs = differs

    def _was_set_back(self) -> bool:
        """Whether the clock has moved back since the last call."""
        before, self._base = self._base, self._clock.elapsed_base
        if before is None or self._base >= before - SET_BACK:
            return False
        log.error("clock_set_back", seconds=round(before - self._base, 1))
        return True

    async def _measure(self) -> None:
        if self._database.is_sqlite:
            return
        try:
            async with self._database.direct(patience=MEASURE_PATIENCE) as connection:
                await self._clock.measure(connection)
        except (StoreUnavailable, StoreRefused):
            return  # DatabaseWatch reports it

    async def _reschedule(self, *, was_set: bool) -> bool:
        try:
            found = await self._setback.reschedule(was_set=was_set)
        except (StoreUnavailable, StoreRefused) as error:
            log.warning("setback_waits", reason=error.detail)
            return False
        if found.queued or found.leased or found.webhooks:
            log.warning(
                "dates_mended",
                queued=found.queued,
                leased=found.leased,
                webhooks=found.webhooks,
                why="the clock was set back: they were dated in the future",
            )
            self._on_rescheduled()
        return True
