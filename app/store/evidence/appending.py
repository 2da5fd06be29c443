"""Appends to the evidence log: one transaction at a time, of one process at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, delete, func, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.any_of import any_of
from app.store.engine import Database
from app.store.evidence.reading import read_tiles
from app.store.evidence.rows import (
    LOG,
    MESSAGE,
    RECEIPT,
    ChainRow,
    CheckpointRow,
    LogRow,
    MessageRow,
    NewFact,
    Place,
    ReceiptRow,
    ToldFact,
    message_row,
    told_fact,
)
from app.store.tables import (
    deliveries,
    events,
    evidence_checkpoints,
    evidence_facts,
    evidence_logs,
    evidence_pending,
    evidence_tiles,
    messages,
    receipts,
)

EVIDENCE_LOCK = 7003
"""The PostgreSQL advisory lock of whoever appends, held until commit. It is taken first, and with
it no row that a journey writes.
"""
PATIENCE = 30.0
"""Seconds for a transaction that appends."""

_INSERT = text(
    "insert into evidence_facts "
    "(log, idx, subject, number, hash, fact, salts, steps, attached) "
    "select :log, :first + ord, subject, number, hash, fact, salts, steps, attached "
    "from unnest(cast(:subjects as bytea[]), cast(:numbers as int[]), cast(:hashes as bytea[]), "
    "cast(:facts as text[]), cast(:salts as bytea[]), cast(:steps as int[]), "
    "cast(:attached as bool[])) with ordinality "
    "t(subject, number, hash, fact, salts, steps, attached, ord)"
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the log does not have yet: receipts with the ids of their rows, and the messages that
    have events up to ``position``."""

    pending: tuple[int, ...]
    receipts: tuple[ReceiptRow, ...]
    told: tuple[ToldFact, ...]
    messages: tuple[MessageRow, ...]
    position: int
    is_all: bool
    """Whether nothing else waited by then."""


class EvidenceAppender:
    """The only way to write to the log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Wait until nobody else appends; committed at the end. Raises StoreUnavailable."""
        async with self._database.write(patience=PATIENCE) as connection:
            if not self._database.is_sqlite:
                await connection.execute(text(f"select pg_advisory_xact_lock({EVIDENCE_LOCK})"))
            yield Turn(connection, is_sqlite=self._database.is_sqlite)


class Turn:
    """A transaction that appends."""

    def __init__(self, connection: AsyncConnection, *, is_sqlite: bool) -> None:
        self._connection = connection
        self._is_sqlite = is_sqlite

    async def log(self) -> LogRow | None:
        """The newest log, ended or not."""
        query = select(*LOG).order_by(evidence_logs.c.id.desc()).limit(1)
        row = (await self._connection.execute(query)).one_or_none()
        return None if row is None else LogRow(*row)

    async def begin(self, origin: str, *, root: bytes, at: datetime) -> LogRow:
        """A new log, behind which every older one has ended. It takes over what waits."""
        last = await self.log()
        newest = await self._connection.execute(select(func.coalesce(func.max(events.c.id), 0)))
        position = last.position if last else newest.scalar_one()
        await self._connection.execute(
            update(evidence_logs).where(evidence_logs.c.ended_at.is_(None)).values(ended_at=at)
        )
        new = LogRow(last.id + 1 if last else 1, origin, at, None, 0, root, position)
        await self._connection.execute(
            insert(evidence_logs).values(
                id=new.id, origin=origin, began_at=at, size=0, root=root, position=position
            )
        )
        return new

    async def waiting(self, position: int, limit: int) -> Waiting:
        """What to append next: at most ``limit`` receipts, and as many events."""
        found = await self._connection.execute(
            select(evidence_pending.c.id, evidence_pending.c.fact, *RECEIPT)
            .select_from(evidence_pending)
            .outerjoin(
                receipts,
                and_(
                    receipts.c.sms_activity_id == evidence_pending.c.sms_activity_id,
                    receipts.c.digest == evidence_pending.c.digest,
                ),
            )
            .outerjoin(
                deliveries, deliveries.c.sms_activity_id == evidence_pending.c.sms_activity_id
            )
            .order_by(evidence_pending.c.id)
            .limit(limit)
        )
        rows = found.all()
        seen = await self._connection.execute(
            select(events.c.id, events.c.message_id)
            .where(events.c.id > position)
            .order_by(events.c.id)
            .limit(limit)
        )
        told = seen.all()
        facts = tuple(told_fact(row.fact) for row in rows if row.fact is not None)
        ids = {row.message_id for row in told} | {row[4] for row in rows if row[4] is not None}
        ids |= {fact.message for fact in facts if fact.message is not None}
        return Waiting(
            pending=tuple(row[0] for row in rows),
            # a row that is gone was purged meanwhile
            receipts=tuple(ReceiptRow(*row[2:]) for row in rows if row[2] is not None),
            told=facts,
            messages=await self._messages(ids),
            position=told[-1].id if told else position,
            is_all=len(rows) < limit and len(told) < limit,
        )

    async def _messages(self, ids: Collection[UUID]) -> tuple[MessageRow, ...]:
        if not ids:
            return ()
        which = any_of(messages.c.id, "ids", is_sqlite=self._is_sqlite)
        query = select(*MESSAGE).where(which).order_by(messages.c.id)
        rows = await self._connection.execute(query, {"ids": list(ids)})
        return tuple(message_row(row) for row in rows)

    async def chains(self, subjects: Collection[bytes]) -> dict[bytes, ChainRow]:
        """The last fact of each subject that has any."""
        if not subjects:
            return {}
        names = list(subjects)
        columns = (
            evidence_facts.c.number,
            evidence_facts.c.hash,
            evidence_facts.c.steps,
            evidence_facts.c.attached,
        )
        query: Select[Any]
        if self._is_sqlite:
            last = (
                select(evidence_facts.c.subject, func.max(evidence_facts.c.number).label("number"))
                .where(evidence_facts.c.subject.in_(names))
                .group_by(evidence_facts.c.subject)
                .subquery()
            )
            query = select(evidence_facts.c.subject, *columns).join(
                last,
                and_(
                    evidence_facts.c.subject == last.c.subject,
                    evidence_facts.c.number == last.c.number,
                ),
            )
            found = await self._connection.execute(query)
        else:
            found = await self._connection.execute(_CHAINS, {"subjects": names})
        return {row[0]: ChainRow(row[1], row[2], row[3], bool(row[4])) for row in found}

    async def tiles(self, log: int, places: Collection[Place]) -> dict[Place, bytes]:
        """Those of the places that have a tile."""
        return await read_tiles(self._connection, log, places)

    async def append(
        self,
        log: LogRow,
        facts: Sequence[NewFact],
        tiles: Mapping[Place, bytes],
        *,
        root: bytes,
        waiting: Waiting | None,
    ) -> None:
        """Store facts behind the last one, and forget that they were waited for."""
        if facts:
            await self._insert(log, facts)
            await self._save_tiles(log.id, tiles)
        position = waiting.position if waiting else log.position
        await self._connection.execute(
            update(evidence_logs)
            .where(evidence_logs.c.id == log.id)
            .values(size=log.size + len(facts), root=root, position=position)
        )
        if waiting and waiting.pending:
            await self._connection.execute(
                delete(evidence_pending).where(
                    any_of(evidence_pending.c.id, "ids", is_sqlite=self._is_sqlite)
                ),
                {"ids": list(waiting.pending)},
            )

    async def _insert(self, log: LogRow, facts: Sequence[NewFact]) -> None:
        if self._is_sqlite:
            await self._connection.execute(
                insert(evidence_facts),
                [
                    {
                        "log": log.id,
                        "idx": log.size + place,
                        "subject": one.subject,
                        "number": one.number,
                        "hash": one.hash,
                        "fact": one.text,
                        "salts": one.salts,
                        "steps": one.steps,
                        "attached": one.attached,
                    }
                    for place, one in enumerate(facts)
                ],
            )
            return
        await self._connection.execute(
            _INSERT,
            {
                "log": log.id,
                "first": log.size - 1,
                "subjects": [one.subject for one in facts],
                "numbers": [one.number for one in facts],
                "hashes": [one.hash for one in facts],
                "facts": [one.text for one in facts],
                "salts": [one.salts for one in facts],
                "steps": [one.steps for one in facts],
                "attached": [one.attached for one in facts],
            },
        )

    async def _save_tiles(self, log: int, tiles: Mapping[Place, bytes]) -> None:
        new = (sqlite if self._is_sqlite else postgresql).insert(evidence_tiles)
        await self._connection.execute(
            new.on_conflict_do_update(
                index_elements=["log", "level", "idx"], set_={"hashes": new.excluded.hashes}
            ),
            [
                {"log": log, "level": level, "idx": index, "hashes": hashes}
                for (level, index), hashes in sorted(tiles.items())
            ],
        )

    async def last_checkpoint(self, log: int) -> CheckpointRow | None:
        """The newest checkpoint of a log."""
        query = (
            select(*evidence_checkpoints.c)
            .where(evidence_checkpoints.c.log == log)
            .order_by(evidence_checkpoints.c.size.desc())
            .limit(1)
        )
        row = (await self._connection.execute(query)).one_or_none()
        return None if row is None else CheckpointRow(*row)

    async def add_checkpoint(self, log: int, size: int, note: str, at: datetime) -> None:
        """Store a checkpoint that was signed."""
        await self._connection.execute(
            insert(evidence_checkpoints).values(log=log, size=size, note=note, signed_at=at)
        )

    async def facts_of(self, log: int, subject: bytes) -> list[str]:
        """The facts of a subject in one log, oldest first."""
        query = select(evidence_facts.c.fact).where(
            evidence_facts.c.subject == subject, evidence_facts.c.log == log
        )
        rows = await self._connection.execute(query.order_by(evidence_facts.c.number))
        return [row.fact for row in rows]

    async def subjects_from(self, log: int, index: int) -> list[bytes]:
        """The subjects whose last fact in this log is at this index or behind it."""
        found = await self._connection.execute(
            select(evidence_facts.c.subject)
            .where(evidence_facts.c.log == log, evidence_facts.c.idx >= index)
            .distinct()
        )
        return [row.subject for row in found]


_CHAINS = text(
    "select s.subject, f.number, f.hash, f.steps, f.attached "
    "from unnest(cast(:subjects as bytea[])) s(subject) cross join lateral ("
    "select number, hash, steps, attached from evidence_facts f "
    "where f.subject = s.subject order by f.number desc limit 1) f"
)
