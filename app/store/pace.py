"""The rate limit towards iovox, shared by all replicas through one row of the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite as lite
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.engine import Database
from app.store.tables import pace

_NAME = "iovox"
_FURTHEST = timedelta(minutes=1)
"""How far ahead the next moment can lie. Further means that a clock was set back."""
_DRIFT = timedelta(milliseconds=1)
"""How much two clocks may drift apart between two readings."""


@dataclass(frozen=True, slots=True)
class Coming:
    """Moments at which to send, by this machine's clock; ``first`` is by the database's."""

    moments: Sequence[datetime]
    first: datetime


class PaceStore:
    """Gives out moments to send at, ``every`` apart, never two replicas the same.

    They are stored by the database's clock, so replicas' clocks need not agree. A moment that was
    used up and then missed is lost: the rate is never exceeded. The row is locked before any
    message, so a transaction that holds it never waits for another claim.
    """

    def __init__(self, database: Database, *, every: timedelta) -> None:
        self._database = database
        self._every = every
        self._ahead: timedelta | None = None

    async def take(
        self, wanted: int, *, within: timedelta, patience: float | None = None
    ) -> Sequence[datetime]:
        """Up to ``wanted`` moments that lie no further ahead than ``within``; perhaps none."""
        async with self._database.write(patience=patience) as connection:
            coming = await self.coming(connection, wanted, within=within)
            await self.use(connection, coming, len(coming.moments))
            return coming.moments

    async def coming(
        self, connection: AsyncConnection, wanted: int, *, within: timedelta
    ) -> Coming:
        """The next moments, locked until the transaction ends, and not yet used up."""
        next_at = await self._locked(connection)
        now = await _time_at(connection)  # after the lock, which may have been waited for
        ahead = self._clock_ahead(datetime.now(UTC) - now)
        first = next_at if now < next_at < now + _FURTHEST else now
        moments = (first + self._every * turn for turn in range(wanted))
        return Coming([at + ahead for at in moments if at <= now + within], first)

    def _clock_ahead(self, seen: timedelta) -> timedelta:
        """By how much our clock is ahead of the database's: the least that was measured lately.

        A measurement includes the response's latency, which only ever adds to it.
        """
        lately = seen if self._ahead is None else self._ahead + _DRIFT
        self._ahead = min(seen, lately)
        return self._ahead

    async def use(self, connection: AsyncConnection, coming: Coming, count: int) -> None:
        """Use up the first ``count`` of ``coming``; the rest stay for others."""
        if count:
            later = update(pace).where(pace.c.name == _NAME)
            await connection.execute(later.values(next_at=coming.first + self._every * count))

    async def _locked(self, connection: AsyncConnection) -> datetime:
        query = select(pace.c.next_at).where(pace.c.name == _NAME).with_for_update()
        found: datetime | None = (await connection.execute(query)).scalar_one_or_none()
        if found is not None:
            return found
        insert = lite.insert if connection.dialect.name == "sqlite" else pg.insert
        first = insert(pace).values(name=_NAME, next_at=datetime.now(UTC))
        await connection.execute(first.on_conflict_do_nothing())
        created: datetime = (await connection.execute(query)).scalar_one()
        return created


async def _time_at(connection: AsyncConnection) -> datetime:
    """The time by the database's clock."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    found: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    return found
