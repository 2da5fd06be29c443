"""What a process may do, asked inside of the transaction in which it does it.

While it is unknown what the database has lost, no message is claimed that may have been sent, and
no idempotency key that may have been used. docs/architecture.md, "The journal", has the rules.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.engine import Database
from app.store.imprint import imprint, imprint_sql
from app.store.incarnation import Claimant

FRESH = 5.0
"""Seconds for which a beat is valid: without a valid one nothing is claimed."""
GONE = timedelta(seconds=10)
"""A process that is silent for so long may be gone for good: others do not wait until it has seen
them."""
SETTLING = timedelta(seconds=3)
"""Time after the beginning of an incarnation by which every live process has registered in it."""

_PERMISSION = """
select h.held, {now} as now, {generation} as generation, n, nonce, released_at, begun_at,
  p.name, p.beat, p.incarnation, p.knows, p.is_stopped, p.seen_at, {imprint} as imprint
from (select exists (select 1 from queue_holds) as held) h
  left join incarnations on n = (select max(n) from incarnations)
  left join processes p on true
"""


@dataclass(frozen=True, slots=True)
class Permission:
    """What may be done in this transaction: send from the queue, take new idempotency keys.

    ``only``: of the queue, only messages that were recorded in this incarnation.
    """

    queue: bool
    keys: bool
    only: UUID | None = None


class Permit:
    """Decides, inside of a transaction, what this process may do in it.

    Without a journal only a hold forbids anything. ``keys_wait``: seconds after which new
    idempotency keys are taken although a process has not come back; None: never.
    """

    def __init__(self, database: Database, *, is_on: bool, keys_wait: float | None = None) -> None:
        self.is_on = is_on
        self.claimant: Claimant | None = None
        self._keys_wait = None if keys_wait is None else timedelta(seconds=keys_wait)
        self._database = database

    @property
    def incarnation(self) -> UUID | None:
        """That of the database, as far as this process knows."""
        return self.claimant.incarnation if self.claimant else None

    @property
    def _statement(self) -> str:
        now, generation = "clock_timestamp()", self._database.generation.sql
        if self._database.is_sqlite:
            now, generation = "strftime('%Y-%m-%d %H:%M:%f', 'now')", "null"
        return _PERMISSION.format(
            now=now, generation=generation, imprint=imprint_sql(self._database)
        )

    async def ask(self, connection: AsyncConnection) -> Permission:
        """What is allowed, by what the transaction sees."""
        rows = (await connection.exec_driver_sql(self._statement)).all()
        return self._decide([_Row._make(row) for row in rows])

    async def ask_directly(self, connection: Any) -> Permission:
        """``ask`` by an asyncpg connection."""
        rows = await connection.fetch(self._statement)
        return self._decide([_Row._make(row) for row in rows])

    def _decide(self, rows: Sequence[_Row]) -> Permission:
        is_held = bool(rows[0].held)
        if not self.is_on:
            return Permission(queue=not is_held, keys=True)
        mine = self.claimant
        if mine is None or not any(_is_me(row, mine) for row in rows):
            return Permission(queue=False, keys=False)
        if rows[0].released_at is not None:
            return Permission(queue=not is_held, keys=True)
        others = [row for row in rows if row.name != mine.name and not row.is_stopped]
        know_me = all(mine.name in row.knows.split() or row.is_silent for row in others)
        have_checked_in = all(_hex(row.incarnation) == mine.incarnation.hex for row in others)
        age = rows[0].age
        if know_me and have_checked_in and (rows[0].n == 1 or age > SETTLING):
            return Permission(queue=not is_held, keys=True)
        waited = self._keys_wait is not None and age > self._keys_wait
        return Permission(queue=know_me and not is_held, keys=waited, only=mine.incarnation)


class _Row(NamedTuple):
    """A row of _PERMISSION: the newest incarnation with one of the processes."""

    held: object
    now: Any
    generation: str | None
    n: int
    nonce: Any
    released_at: Any
    begun_at: Any
    name: str
    beat: Any
    incarnation: Any
    knows: str
    is_stopped: int
    seen_at: Any
    imprint: Any

    @property
    def age(self) -> timedelta:
        """The age of the incarnation: absolute, since after a clock was set back it is negative."""
        return abs(_moment(self.now) - _moment(self.begun_at))

    @property
    def is_silent(self) -> bool:
        """Whether the process's last beat is older than GONE.

        Or lies that far ahead: the clock was set back, and a live process has beaten since then.
        """
        return abs(_moment(self.now) - _moment(self.seen_at)) > GONE


def _is_me(row: _Row, mine: Claimant) -> bool:
    """Whether it is this process's row, with its newest beat, which is fresh, in the incarnation
    that it knows and in which it has brought everything back.
    """
    return (
        row.name == mine.name
        and _hex(row.nonce) == _hex(row.incarnation) == mine.incarnation.hex
        and _hex(row.beat) in {beat.hex for beat in mine.beats}
        and row.generation in (None, mine.generation)
        and mine.imprint.is_still(imprint(row.imprint, is_released=row.released_at is not None))
        and time.monotonic() - mine.beaten_at < FRESH
    )


def _hex(id_: UUID | str | None) -> str | None:
    """SQLite keeps UUIDs as text without dashes."""
    return id_ if id_ is None or isinstance(id_, str) else id_.hex


def _moment(stored: datetime | str) -> datetime:
    """SQLite keeps times as text in UTC."""
    return datetime.fromisoformat(stored) if isinstance(stored, str) else stored
