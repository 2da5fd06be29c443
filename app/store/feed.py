"""Reads the log of status changes. Its order is the order of commits: a reader that is at N never
finds a new event below N.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.activity_id import one_spelling
from app.model.event import Cursor, Event, Reach, era_of, reach
from app.store.engine import Database
from app.store.retention import EVENTS
from app.store.tables import events, incarnations, messages, retention

# The last number that was assigned, committed or not.
_LAST_POSTGRESQL = text(
    "select coalesce(pg_sequence_last_value(pg_get_serial_sequence('events', 'id')::regclass), 0)"
)
_LAST_SQLITE = text("select coalesce((select seq from sqlite_sequence where name = 'events'), 0)")


class FeedStore:
    """Pages of events. ``app`` is the app whose events are read, or None for all apps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, *, after: int, app: str | None, limit: int, until: int | None = None
    ) -> list[Event]:
        """The first ``limit`` events above ``after``, up to ``until``."""
        which = select(events).where(events.c.id > after)
        if app is not None:
            which = which.where(events.c.app == app)
        if until is not None:
            which = which.where(events.c.id <= until)
        async with self._database.read() as connection:
            return await read_events(connection, which.order_by(events.c.id).limit(limit))

    async def newest(self) -> int:
        """The number of the newest event that is committed; 0 before the first."""
        async with self._database.read() as connection:
            found = await connection.execute(select(func.max(events.c.id)))
            return found.scalar_one() or 0

    async def message_named(self, name: str, *, app: str | None) -> UUID | None:
        """The message with this id, ours or iovox's; None if this app has none."""
        name = one_spelling(name)
        query = select(messages.c.id).where(messages.c.sms_activity_id == name)
        if ours := _uuid(name):
            query = select(messages.c.id).where(
                (messages.c.id == ours) | (messages.c.sms_activity_id == name)
            )
        if app is not None:
            query = query.where(messages.c.app == app)
        if "\x00" in name:
            return None
        async with self._database.read() as connection:
            return (await connection.execute(query.limit(1))).scalar_one_or_none()

    async def era(self) -> int:
        """The era of what is given out now; 0 before the first incarnation."""
        query = select(incarnations.c.nonce).order_by(incarnations.c.n.desc()).limit(1)
        async with self._database.read() as connection:
            return _era((await connection.execute(query)).scalar_one_or_none())

    async def reach(self, cursor: Cursor) -> Reach:
        """How far a cursor is valid: the database may have lost events that were read by it."""
        query = select(incarnations.c.nonce, incarnations.c.last_event).order_by(incarnations.c.n)
        async with self._database.read() as connection:
            eras = [(era_of(row[0]), row[1]) for row in await connection.execute(query)]
        return reach(cursor, eras)

    async def deleted_up_to(self) -> int:
        """Events up to this number are no longer kept; 0: all are."""
        query = select(retention.c.number).where(retention.c.name == EVENTS)
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none() or 0

    async def was_given(self, number: int) -> bool:
        """Whether this number was assigned to an event, committed or not."""
        query = _LAST_SQLITE if self._database.is_sqlite else _LAST_POSTGRESQL
        async with self._database.read() as connection:
            last = (await connection.execute(query)).scalar_one()
        return number <= int(last)


async def read_events(connection: AsyncConnection, which: Select[Any]) -> list[Event]:
    """The events that a query on their table selects, which has a limit; oldest first."""
    # Limited before the join, so that no plan joins the whole log.
    chosen = which.subquery()
    # In the order of Event's fields.
    columns: list[ColumnElement[Any]] = [
        chosen.c.id,
        chosen.c.message_id,
        chosen.c.app,
        chosen.c.sms_activity_id,
        messages.c.reference,
        chosen.c.status,
        chosen.c.at,
        chosen.c.recorded_at,
        chosen.c.contradictory,
        chosen.c.status_stays,
    ]
    newest = select(incarnations.c.nonce).order_by(incarnations.c.n.desc()).limit(1)
    query = (
        select(*columns, newest.scalar_subquery())
        .join_from(chosen, messages, messages.c.id == chosen.c.message_id, isouter=True)
        .order_by(chosen.c.id)
    )
    rows = await connection.execute(query)
    return [_event([*row]) for row in rows]


def _event(fields: list[Any]) -> Event:
    """From a row whose last column is the newest incarnation's nonce."""
    fields[-1] = _era(fields[-1])
    return Event(*fields)


def _era(nonce: UUID | None) -> int:
    return 0 if nonce is None else era_of(nonce)


def _uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None
