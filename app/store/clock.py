"""The database's clock, as far as this process knows it: the one clock that all replicas share.

Whatever replicas compare with each other (leases, due times, deadlines) goes by it, so a host whose
own clock is wrong, or is set while it runs, settles no other host's messages and delays none. On
SQLite all processes share one host, whose clock is the database's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Now = Callable[[], datetime]
"""The current time, aware, in UTC."""


def utc_now() -> datetime:
    """The time by this host's clock."""
    return datetime.now(UTC)


class DatabaseClock:
    """Follows the database's clock by the host's monotonic one, which nobody sets.

    Each new connection measures it before its first use, so what was read from or written to the
    database was never timed by a host's clock alone. Until then ``now`` is the host's time: that of
    receipts that arrive while there was no database yet.
    """

    def __init__(
        self, *, host: Now = utc_now, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._host = host
        self._monotonic = monotonic
        self._offset: float | None = None
        """The database's time, in seconds since 1970, less the monotonic clock."""
        self._is_known = asyncio.Event()

    def now(self) -> datetime:
        """The database's time, as exact as the quickest of its answers. It is the host's until the
        first answer, and as long as no answer contradicts that.
        """
        if self._offset is None:
            return self._host()
        return datetime.fromtimestamp(self._monotonic() + self._offset, UTC)

    async def wait_until_known(self) -> None:
        """Return when it has been measured once."""
        await self._is_known.wait()

    def is_the_hosts(self) -> None:
        """Use the host's clock for good: the database (SQLite) has none of its own."""
        self._is_known.set()

    async def measure(self, connection: Any, *, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Ask PostgreSQL for its time, by an asyncpg connection. Raises what asyncpg raises."""
        asked = self._monotonic()
        at = await connection.fetchval("select clock_timestamp()", timeout=timeout)
        self.measured(at, asked=asked, received=self._monotonic())

    def measured(self, at: datetime, *, asked: float, received: float) -> None:
        """Take the measurement ``at``, made between these two moments of the monotonic clock.

        The offset, at first the host's clock's, moves only as far as the measurement contradicts
        it. So a slow answer, which bounds it loosely, does no harm, and a clock that was set is
        followed at once.
        """
        earliest, latest = at.timestamp() - received, at.timestamp() - asked
        known = self._offset
        if known is None:
            known = self._host().timestamp() - self._monotonic()
        self._offset = min(max(known, earliest), latest)
        self._is_known.set()

    @property
    def host_ahead(self) -> float:
        """Seconds by which the host's clock is ahead; 0 where the database has none of its own."""
        return (self._host() - self.now()).total_seconds() if self._offset is not None else 0.0

    @property
    def elapsed_base(self) -> float:
        """The clock's time less the monotonic one: it changes only when a clock is set."""
        return self.now().timestamp() - self._monotonic()
