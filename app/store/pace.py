"""The rate limit towards iovox, shared by all replicas through one row of the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.engine import Database
from app.store.tables import pace
from app.store.upsert import upsert

_NAME = "iovox"
_FURTHEST = timedelta(minutes=1)
"""How far ahead the next slot can lie. Further means that a clock was set back."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Time slots to send in, by the database's clock."""

    times: Sequence[datetime]
    first: datetime


class PaceStore:
    """Gives out time slots to send in, ``every`` apart, each to one replica only.

    They are stored by the database's clock, so replicas' clocks need not agree. A slot that was
    consumed and then missed is lost: the rate is never exceeded. The row is locked before any
    message, so a transaction that holds it never waits for another claim.
    """

    def __init__(self, database: Database, *, every: timedelta) -> None:
        self._database = database
        self._every = every

    async def reserve(
        self, wanted: int, *, within: timedelta, patience: float | None = None
    ) -> Sequence[datetime]:
        """Consume up to ``wanted`` slots no further ahead than ``within``; perhaps none."""
        async with self._database.write(patience=patience) as connection:
            slots = await self.next_slots(connection, wanted, within=within)
            await self.consume(connection, slots, len(slots.times))
            return slots.times

    async def next_slots(
        self, connection: AsyncConnection, wanted: int, *, within: timedelta
    ) -> Slots:
        """The next slots, locked until the transaction ends, and not yet consumed."""
        next_at = await self._locked(connection)
        now = await self._time_at(connection)  # after the lock, which may have been waited for
        first = next_at if now < next_at < now + _FURTHEST else now
        times = (first + self._every * number for number in range(wanted))
        return Slots([at for at in times if at <= now + within], first)

    async def consume(self, connection: AsyncConnection, slots: Slots, count: int) -> None:
        """Consume the first ``count`` of ``slots``; the rest stay for others."""
        if count:
            later = update(pace).where(pace.c.name == _NAME)
            await connection.execute(later.values(next_at=slots.first + self._every * count))

    async def _locked(self, connection: AsyncConnection) -> datetime:
        query = select(pace.c.next_at).where(pace.c.name == _NAME).with_for_update()
        found: datetime | None = (await connection.execute(query)).scalar_one_or_none()
        if found is not None:
            return found
        first = upsert(connection, pace).values(name=_NAME, next_at=self._database.clock.now())
        await connection.execute(first.on_conflict_do_nothing())
        created: datetime = (await connection.execute(query)).scalar_one()
        return created

    async def _time_at(self, connection: AsyncConnection) -> datetime:
        """The time by the database's clock, which is asked: exact for all who hold the row."""
        if connection.dialect.name == "sqlite":
            return self._database.clock.now()
        found: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
        return found
