"""The rate towards iovox, shared by all replicas: one row of the database gives out the slots."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite as lite

from app.store.engine import Database
from app.store.tables import pace

_NAME = "iovox"


class PaceStore:
    """Gives out moments to send at, ``every`` apart, never two replicas the same."""

    def __init__(self, database: Database, *, every: timedelta) -> None:
        self._database = database
        self._every = every

    async def take(self, wanted: int, *, now: datetime, within: timedelta) -> list[datetime]:
        """Up to ``wanted`` moments that lie no further ahead than ``within``; perhaps none.

        A moment that was taken and not used is lost, so the rate is never exceeded.
        """
        async with self._database.write() as connection:
            insert = lite.insert if connection.dialect.name == "sqlite" else pg.insert
            await connection.execute(
                insert(pace).values(name=_NAME, next_at=now).on_conflict_do_nothing()
            )
            held = await connection.execute(
                select(pace.c.next_at).where(pace.c.name == _NAME).with_for_update()
            )
            first = max(held.scalar_one(), now)
            slots = [first + self._every * turn for turn in range(wanted)]
            slots = [slot for slot in slots if slot <= now + within]
            if slots:
                await connection.execute(
                    update(pace).where(pace.c.name == _NAME).values(next_at=slots[-1] + self._every)
                )
            return slots
