"""Incarnations of the database, the processes registered in them, and holds of the queue.

``app.store.incarnation`` says what these are; docs/architecture.md, "The journal", has the rules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Table, delete, func, literal_column, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.audit import Entry
from app.model.fact import Settled
from app.store.audit import append as append_to_audit
from app.store.engine import Database
from app.store.file_identity import FileIdentity
from app.store.imprint import imprint, imprint_sql
from app.store.incarnation import Claimant, Hold, Incarnation, Presence, Process
from app.store.tables import events, incarnations, processes, queue_holds, queue_settlements
from app.store.upsert import upsert

PATIENCE = 5.0
"""Seconds for a transaction; beyond this the database counts as away."""
SILENT = timedelta(seconds=30)
"""A process that had been silent for so long at the moment to which the database went back has lost
nothing: all that it did is in the database."""
QUEUE = "queue"
_LOCK = 7002
"""The PostgreSQL advisory lock under which an incarnation is begun."""


class PresenceStore:
    """Reads and writes incarnations, processes and holds. Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._generation = database.generation
        self._file: FileIdentity | None = None
        self.imprints_last = not database.is_sqlite
        """Whether an imprint may be compared after a restart. A migration changes SQLite's, and a
        new release migrates SQLite at its start: it would look for a loss that there was not."""

    def now(self) -> datetime:
        """By the database's clock."""
        return self._database.clock.now()

    async def look(self) -> Presence:
        """What there is now."""
        self._follow_file()
        async with self._database.write(patience=PATIENCE) as connection:
            return await self._look(connection)

    async def begin(self, after: Incarnation | None, *, me: str, host: str, why: str) -> None:
        """Begin the incarnation after that one, unless another process was first.

        ``me`` is this process's name, ``why`` says how it noticed that the database lost something.
        """
        async with self._database.write(patience=PATIENCE) as connection:
            if not self._database.is_sqlite:
                await connection.execute(text(f"select pg_advisory_xact_lock({_LOCK})"))
            found = await self._look(connection)
            if (found.newest and found.newest.nonce) != (after and after.nonce):
                return
            n = found.newest.n + 1 if found.newest else 1
            values = {
                "n": n,
                "nonce": uuid4(),
                "generation": found.generation,
                "last_event": await self._last_common_event(connection, found, me),
                "begun_at": func.now(),
                "noticed_by": f"{me} on {host}",
                "why": why,
            }
            await _insert(connection, incarnations, values)
            await self._strike_silent(connection, found, me)

    async def register(self, me: str, *, host: str, beat: UUID, others: Collection[str]) -> None:
        """Register this process with its ``beat``; its mark stays as it is.

        Also registers those of the ``others``, which this one has seen, that the database has lost.
        """
        async with self._database.write(patience=PATIENCE) as connection:
            known = set((await connection.execute(select(processes.c.name))).scalars())
            last = await _newest_event(connection)
            row: dict[str, Any] = {"host": host, "beat": beat, "incarnation": None, "is_stopped": 0}
            row |= {"knows": " ".join(sorted(others)), "last_event": last, "seen_at": func.now()}
            row = _at_now(row, connection)
            if me in known:
                changed = update(processes).where(processes.c.name == me)
                await connection.execute(changed.values(row))
            else:
                await _insert(connection, processes, {"name": me, **row})
            for other in sorted(set(others) - known - {me}):
                again = row | {"host": "", "beat": uuid4(), "knows": ""}
                await _insert(connection, processes, {"name": other, **again})

    async def beat(
        self,
        mine: Claimant,
        *,
        next_beat: UUID,
        mark: UUID | None = None,
        knows: Collection[str] = (),
        checked_in: bool = True,
        stop: bool = False,
    ) -> tuple[Presence, bool]:
        """Swap this process's beat for ``next_beat``; returns what there is now, and whether the
        database had the beat. It has not if it lost something: then nothing is written.

        ``mark``: also write a mark, and ``knows`` with it. ``checked_in``: this process has brought
        everything back. ``stop``: it ends in order.
        """
        self._follow_file()
        async with self._database.write(patience=PATIENCE) as connection:
            found = await self._look(connection)
            if not _is_current(found, mine):
                return found, False
            values: dict[str, Any] = {"beat": next_beat, "seen_at": func.now()}
            values["last_event"] = await _newest_event(connection)
            if mark is not None:
                values |= {"mark": mark, "knows": " ".join(sorted(knows))}
            if checked_in:
                values["incarnation"] = mine.incarnation
            values["is_stopped"] = int(stop)
            swapped = (
                update(processes)
                .where(processes.c.name == mine.name, processes.c.beat.in_(mine.beats))
                .values(_at_now(values, connection))
            )
            return found, (await connection.execute(swapped)).rowcount == 1

    async def retire(self, name: str, incarnation: UUID) -> None:
        """Mark a dead process as stopped, whose journal another one has brought back: nobody waits
        for it any more.
        """
        gone = update(processes).where(processes.c.name == name)
        async with self._database.write(patience=PATIENCE) as connection:
            await connection.execute(gone.values(is_stopped=1, incarnation=incarnation))

    async def forget_stopped(self, after: float) -> None:
        """Delete the rows of processes that stopped more than ``after`` seconds ago. That is how
        long journals are kept: an older backup is not made whole by them anyway.
        """
        before = self._database.clock.now() - timedelta(seconds=after) - SILENT
        gone = (processes.c.is_stopped == 1) & (processes.c.seen_at < before)
        async with self._database.write(patience=PATIENCE) as connection:
            await connection.execute(delete(processes).where(gone))

    async def hold(self, by: str, reason: str, *, entry: Entry | None = None) -> None:
        """Hold the queue; a hold that is there stays with its reason. ``entry`` is the audit's."""
        async with self._database.write(patience=PATIENCE) as connection:
            there = (await connection.execute(select(queue_holds.c.name))).first()
            if there is None:
                row = {"name": QUEUE, "held_at": func.now(), "held_by": by, "reason": reason}
                await _insert(connection, queue_holds, row)
            await append_to_audit(connection, [entry])

    async def release(self, *, entry: Entry | None = None) -> None:
        """End the hold, and the wait for processes that have not brought everything back: in this
        incarnation, and in later ones until they are seen again. ``entry`` is the audit's.
        """
        async with self._database.write(patience=PATIENCE) as connection:
            await connection.execute(delete(queue_holds))
            for one in (await self._look(connection)).absent:
                gone = update(processes).where(processes.c.name == one.name)
                await connection.execute(gone.values(is_stopped=1))
            newest = select(func.max(incarnations.c.n)).scalar_subquery()
            values = _at_now({"released_at": func.now()}, connection)
            await connection.execute(
                update(incarnations).where(incarnations.c.n == newest).values(values)
            )
            await append_to_audit(connection, [entry])

    async def is_held(self) -> bool:
        """Whether the queue is held."""
        async with self._database.read(patience=PATIENCE) as connection:
            return (await connection.execute(select(queue_holds.c.name))).first() is not None

    def close(self) -> None:
        """Let go of SQLite's file, so that its inode may be used again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    async def _look(self, connection: AsyncConnection) -> Presence:
        generation = "" if self._file is None else self._file.generation
        if not self._database.is_sqlite:
            generation = await self._generation.read(connection)
        order = incarnations.c.n
        nonces = select(incarnations.c.nonce).order_by(order).limit(1)
        stamp: ColumnElement[Any] = literal_column(imprint_sql(self._database))
        newest = select(incarnations, stamp.label("imprint")).order_by(order.desc()).limit(1)
        row = (await connection.execute(newest)).one_or_none()
        hold = (await connection.execute(select(queue_holds))).one_or_none()
        rows = await connection.execute(select(processes))
        settled = await connection.execute(select(queue_settlements))
        return Presence(
            generation=generation,
            newest=None if row is None else _incarnation(row),
            database=(await connection.execute(nonces)).scalar_one_or_none(),
            processes={each.name: _process(each) for each in rows},
            hold=None if hold is None else Hold(hold.held_at, hold.held_by, hold.reason),
            settlements=tuple(
                Settled(each.id, each.before, each.settled_at, each.settled_by) for each in settled
            ),
        )

    async def _strike_silent(self, connection: AsyncConnection, found: Presence, me: str) -> None:
        """Mark processes as stopped that have nothing to bring back: those that had been silent for
        SILENT at the moment to which the database went back, and had checked in. That moment is not
        earlier than this process's last beat that the database has.
        """
        mine = found.processes.get(me)
        if mine is None or found.newest is None:
            return
        is_silent = processes.c.seen_at < mine.seen_at - SILENT
        was_checked = processes.c.incarnation == found.newest.nonce
        silent = update(processes).where(is_silent, was_checked).values(is_stopped=1)
        await connection.execute(silent)

    async def _last_common_event(
        self, connection: AsyncConnection, found: Presence, me: str
    ) -> int:
        """An event up to which the log is surely the same before and after the loss: the newest at
        the last beat of this process that the database has, or of all others. Numbers above it may
        have been assigned anew since.
        """
        if found.newest is None:
            return await _newest_event(connection)
        rows = await connection.execute(select(processes.c.name, processes.c.last_event))
        known: dict[str, int] = {row.name: row.last_event for row in rows}
        return known.get(me, min(known.values(), default=0))

    def _follow_file(self) -> None:
        """SQLite: if another file is at the path now, such as a copy put back, use that one."""
        file = self._database.file
        if file is None or (self._file is not None and self._file.is_at(file)):
            return
        if self._file is not None:
            self._database.reopen()
            self._file.close()
        self._file = FileIdentity(file, self._database.name)


def _is_current(found: Presence, mine: Claimant) -> bool:
    newest = found.newest
    me = found.processes.get(mine.name)
    return (
        newest is not None
        and newest.nonce == mine.incarnation
        and newest.generation == found.generation == mine.generation
        and mine.imprint.is_still(newest.imprint)
        and me is not None
        and me.beat in mine.beats
    )


def _incarnation(row: Any) -> Incarnation:
    return Incarnation(
        row.n,
        row.nonce,
        row.generation,
        row.last_event,
        row.begun_at,
        row.why,
        imprint(row.imprint, is_released=row.released_at is not None),
    )


def _process(row: Any) -> Process:
    return Process(
        row.name, row.host, row.beat, row.mark, row.incarnation, bool(row.is_stopped), row.seen_at
    )


async def _newest_event(connection: AsyncConnection) -> int:
    found: int | None = (await connection.execute(select(func.max(events.c.id)))).scalar_one()
    return found or 0


async def _insert(connection: AsyncConnection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert the row unless its key exists. Fails while a restore has not created the primary key
    yet: the row would be in the way of the restored one.
    """
    values = upsert(connection, table).values(_at_now(row, connection))
    key = [column.name for column in table.primary_key]
    await connection.execute(values.on_conflict_do_nothing(index_elements=key))


def _at_now(values: Mapping[str, Any], connection: AsyncConnection) -> dict[str, Any]:
    """On SQLite, whose ``now()`` has no fraction of a second, another expression in its place."""
    if connection.dialect.name != "sqlite":
        return dict(values)
    now = text("strftime('%Y-%m-%d %H:%M:%f', 'now') || '000'")
    return {n: now if getattr(v, "name", None) == "now" else v for n, v in values.items()}
