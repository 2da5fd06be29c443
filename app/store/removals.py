"""Erasures, purges and revocations, for the journals, which repeat them after a restore.

Every process writes to its journal what any process has done: a command has no journal of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, or_, select, update

from app.model.audit import Action, Entry
from app.model.fact import Erased
from app.store.any_of import chunks
from app.store.audit import append, entry_of
from app.store.engine import Database
from app.store.erasing.again import erase_again
from app.store.erasing.store import erasure_of, row_of
from app.store.tables import api_keys, audit, erased, erasures, messages
from app.store.upsert import upsert

PATIENCE = 30.0
"""Seconds for a transaction."""
MOST = 5_000
"""Rows of each kind that are read at once."""
AT_ONCE = 200
"""Entries or ids that are written in one transaction."""


@dataclass(frozen=True, slots=True)
class Removals:
    """The entries of the audit, and the erased ids and erasures, since some time."""

    entries: Sequence[Entry]
    erased: Erased


class RemovalStore:
    """Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.now = database.clock.now

    async def since(self, moment: datetime) -> Removals:
        """Removals since then; of each kind the newest, MOST at most."""
        newest = select(*audit.c).where(audit.c.at > moment).order_by(audit.c.at.desc()).limit(MOST)
        gone = (
            select(erased.c.id, erased.c.sms_activity_id, erased.c.erased_at)
            .where(erased.c.erased_at > moment)
            .order_by(erased.c.erased_at.desc())
            .limit(MOST)
        )
        ended = (
            select(*erasures.c)
            .where(or_(erasures.c.erased_at > moment, erasures.c.completed_at > moment))
            .limit(MOST)
        )
        async with self._database.read(patience=PATIENCE) as connection:
            entries = [entry_of(row) for row in await connection.execute(newest)]
            rows = (await connection.execute(gone)).all()
            completed = [erasure_of(row, ()) for row in await connection.execute(ended)]
        return Removals(
            entries,
            Erased(tuple((row.id, row.sms_activity_id) for row in rows), tuple(completed)),
        )

    async def without_text(self, ids: Collection[UUID]) -> set[UUID]:
        """Which of these messages have no text any more, or do not exist any more."""
        found: set[UUID] = set()
        async with self._database.read(patience=PATIENCE) as connection:
            for some in chunks(list(ids), 1_000):
                query = select(messages.c.id).where(
                    messages.c.id.in_(some), messages.c.message != ""
                )
                found |= set((await connection.execute(query)).scalars())
        return set(ids) - found

    async def erased_since(self, moment: datetime) -> Erased:
        """The ids of everything that was erased since then."""
        query = select(erased.c.id, erased.c.sms_activity_id).where(erased.c.erased_at >= moment)
        async with self._database.read(patience=PATIENCE) as connection:
            rows = (await connection.execute(query)).all()
        return Erased(tuple((row.id, row.sms_activity_id) for row in rows), ())

    async def take_away_again(
        self, entries: Collection[Entry], gone: Collection[Erased]
    ) -> datetime | None:
        """After a restore: append to the audit, revoke keys and erase once more.

        Returns the latest time before which everything was purged; None if nothing was. The caller
        purges.
        """
        revoked = {one.what: one.at for one in entries if one.action == Action.REVOKE_KEY}
        async with self._database.write(patience=PATIENCE) as connection:
            for some in chunks(list(entries), AT_ONCE):
                await append(connection, some)
            for key_id, at in revoked.items():
                this = (api_keys.c.id == key_id) & api_keys.c.revoked_at.is_(None)
                await connection.execute(update(api_keys).where(this).values(revoked_at=at))
        now = self.now()
        for one in gone:
            async with self._database.write(patience=PATIENCE) as connection:
                new = upsert(connection, erasures)
                for erasure in one.erasures:
                    # Of one erasure there are facts from before and after its completion, in any
                    # order.
                    completed = func.coalesce(new.excluded.completed_at, erasures.c.completed_at)
                    await connection.execute(
                        new.values(row_of(erasure)).on_conflict_do_update(
                            index_elements=["id"], set_={"completed_at": completed}
                        )
                    )
            await self._erase_again(one.ids, now)
        await self._erase_again(await self._brought_back(), now)
        purged = [
            datetime.fromisoformat(str(one.details["before"]))
            for one in entries
            if one.action == Action.PURGE and "before" in one.details
        ]
        return max(purged, default=None)

    async def _erase_again(self, ids: Sequence[tuple[UUID, str | None]], now: datetime) -> None:
        for some in chunks(ids, AT_ONCE):
            async with self._database.write(patience=PATIENCE) as connection:
                await erase_again(connection, dict(some), now)

    async def _brought_back(self) -> Sequence[tuple[UUID, str | None]]:
        """Messages that are noted as erased, and that another process's journal has brought back
        since, with their texts.
        """
        query = (
            select(erased.c.id, erased.c.sms_activity_id)
            .join(messages, messages.c.id == erased.c.id)
            .where(messages.c.erased_at.is_(None))
        )
        async with self._database.read(patience=PATIENCE) as connection:
            return [(row.id, row.sms_activity_id) for row in await connection.execute(query)]
