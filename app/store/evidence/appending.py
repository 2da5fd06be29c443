"""Appends to the evidence log: by one transaction at a time, under an advisory lock."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.any_of import any_of
from app.store.engine import Database
from app.store.evidence.bulk import insert_facts, read_chains, take_events, take_pending
from app.store.evidence.disks import DiskRow, read_disks
from app.store.evidence.reading import read_tiles
from app.store.evidence.receipt_facts import RANDOM_SIZE
from app.store.evidence.rows import (
    ENTRY,
    LOG,
    MESSAGE,
    Chain,
    CheckpointRow,
    EntryRow,
    LogRow,
    MessageRow,
    NewFact,
    PendingFact,
    Place,
    ReceiptRow,
    message_row,
    parse_pending_fact,
)
from app.store.evidence.salts import delete_missed_salts
from app.store.tables import (
    audit,
    events,
    evidence_checkpoints,
    evidence_facts,
    evidence_logs,
    evidence_tiles,
    messages,
)
from app.store.upsert import upsert

EVIDENCE_LOCK = 7003
"""The PostgreSQL advisory lock of an append, held until commit. It is the transaction's first lock,
and the transaction locks no row that a journey writes, so no journey waits for it.
"""
PATIENCE = 30.0
"""Seconds for a transaction that appends."""

# No sequential scans: every lookup is by key, but a cached plan from when a table was small or the
# queue empty would scan all of it for each receipt.
_BEGIN = text(
    f"select pg_advisory_xact_lock({EVIDENCE_LOCK}), set_config('enable_seqscan', 'off', true)"
)


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be appended next."""

    leaves: bytes
    """The leaf hashes of the facts that are stored already, concatenated: of receipts."""
    receipts: Sequence[ReceiptRow]
    """The receipts whose facts are still to be made."""
    pending: Sequence[PendingFact]
    """The facts that were enqueued."""
    messages: Collection[UUID]
    """The messages that events up to ``position`` name, and of which the log may lack something."""
    position: int
    is_empty: bool
    is_last: bool
    """Whether nothing else was to be appended by then."""


class EvidenceAppender:
    """Begins the transactions that append facts and sign checkpoints."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AppendTransaction]:
        """A transaction that holds the lock; committed at the end. Raises StoreUnavailable."""
        async with self._database.write(patience=PATIENCE) as connection:
            if not self._database.is_sqlite:
                await connection.execute(_BEGIN)
            yield AppendTransaction(connection, is_sqlite=self._database.is_sqlite)


class AppendTransaction:
    """Reads and writes of the one transaction that may append."""

    def __init__(self, connection: AsyncConnection, *, is_sqlite: bool) -> None:
        self._connection = connection
        self._is_sqlite = is_sqlite

    async def log(self) -> LogRow | None:
        """The newest log, ended or not."""
        query = select(*LOG).order_by(evidence_logs.c.id.desc()).limit(1)
        row = (await self._connection.execute(query)).one_or_none()
        return None if row is None else LogRow(*row)

    async def begin(self, origin: str, *, root: bytes, at: datetime) -> LogRow:
        """Begin a new log and end every older one. It continues at the last one's position in the
        events; the first log begins behind all events that there are.
        """
        last = await self.log()
        newest = await self._connection.execute(select(func.coalesce(func.max(events.c.id), 0)))
        position = last.position if last else newest.scalar_one()
        await self._connection.execute(
            update(evidence_logs).where(evidence_logs.c.ended_at.is_(None)).values(ended_at=at)
        )
        new = LogRow(last.id + 1 if last else 1, origin, at, None, 0, root, position)
        await self._connection.execute(
            insert(evidence_logs).values(
                id=new.id,
                origin=origin,
                began_at=at,
                size=0,
                root=root,
                position=position,
                receipts_position=position,
            )
        )
        return new

    async def take(self, log: LogRow, *, origin: str, limit: int) -> Batch:
        """Take the next batch: at most ``limit`` events, and as many rows of the queue.

        ``origin``: the log's, as JSON.
        """
        random = secrets.token_bytes(RANDOM_SIZE * limit)
        taken = await take_events(self._connection, log, origin=origin, limit=limit, random=random)
        dequeued, rows = await take_pending(self._connection, taken.receipts, limit)
        return Batch(
            leaves=taken.leaves,
            # a receipt whose row is gone was purged since
            receipts=[ReceiptRow._make(row[2:]) for row in rows if row[2] is not None],
            pending=[parse_pending_fact(row[1]) for row in rows if row[1] is not None],
            messages=taken.messages,
            position=taken.position,
            is_empty=not (dequeued or taken.events),
            is_last=dequeued < limit and taken.events < limit,
        )

    async def messages(self, ids: Collection[UUID]) -> tuple[MessageRow, ...]:
        """The messages with these ids that exist, by id."""
        if not ids:
            return ()
        which = any_of(messages.c.id, "ids", is_sqlite=self._is_sqlite)
        query = select(*MESSAGE).where(which).order_by(messages.c.id)
        rows = await self._connection.execute(query, {"ids": list(ids)})
        return tuple(message_row(row) for row in rows)

    async def entries(self, ids: Collection[UUID]) -> list[EntryRow]:
        """The entries of the audit with these ids that exist, by id."""
        if not ids:
            return []
        which = any_of(audit.c.id, "ids", is_sqlite=self._is_sqlite)
        query = select(*ENTRY).where(which).order_by(audit.c.id)
        rows = await self._connection.execute(query, {"ids": list(ids)})
        return [EntryRow(*row) for row in rows]

    async def chains(self, subjects: Collection[bytes]) -> dict[bytes, Chain | NewFact]:
        """The ends of the chains of these subjects; a subject without a fact is left out."""
        return await read_chains(self._connection, subjects)

    async def tiles(self, log: int, places: Collection[Place]) -> dict[Place, bytes]:
        """The tiles at these places; places without one are left out."""
        return await read_tiles(self._connection, log, places)

    async def append(
        self,
        log: LogRow,
        facts: Sequence[NewFact],
        tiles: Mapping[Place, bytes],
        *,
        pending: Sequence[PendingFact],
    ) -> None:
        """Store facts, the tiles that they changed, and ``log`` as it is with them. ``pending``:
        the enqueued facts that are among them.
        """
        if facts:
            await insert_facts(self._connection, facts)
        await self._save_tiles(log.id, tiles)
        await delete_missed_salts(self._connection, pending)
        await self._connection.execute(
            update(evidence_logs)
            .where(evidence_logs.c.id == log.id)
            .values(
                size=log.size,
                root=log.root,
                position=log.position,
                receipts_position=log.position,
            )
        )

    async def _save_tiles(self, log: int, tiles: Mapping[Place, bytes]) -> None:
        if not tiles:
            return
        new = upsert(self._connection, evidence_tiles)
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
        """Store a signed checkpoint."""
        await self._connection.execute(
            insert(evidence_checkpoints).values(log=log, size=size, note=note, signed_at=at)
        )

    async def facts_of(self, log: int, subject: bytes) -> list[str]:
        """The texts of the facts of a subject in one log, oldest first."""
        query = select(evidence_facts.c.fact).where(
            evidence_facts.c.subject == subject, evidence_facts.c.log == log
        )
        rows = await self._connection.execute(query.order_by(evidence_facts.c.number))
        return [row.fact for row in rows]

    async def disks(self) -> list[DiskRow]:
        """Every disk that ever reported."""
        return await read_disks(self._connection)

    async def subjects_from(self, log: int, index: int) -> list[bytes]:
        """The subjects of the log's facts from an index on."""
        found = await self._connection.execute(
            select(evidence_facts.c.subject)
            .where(evidence_facts.c.log == log, evidence_facts.c.idx >= index)
            .distinct()
        )
        return [row.subject for row in found]
