"""Opens the journal of a process: one of this database that no process holds, or a new one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog

from app.record import beats
from app.record.beats import Beats
from app.record.folders import Folders
from app.record.segments import Lock, Writer
from app.store.bringing_back import BringingBackStore
from app.store.incarnation import Presence, Process
from app.store.presence import PresenceStore

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """A journal that is this process's for as long as it holds the lock."""

    folder: Path
    lock: Lock
    writer: Writer


class Opener:
    """Raises OSError where the disk does not take a journal."""

    def __init__(
        self,
        *,
        folders: Folders,
        presence: PresenceStore,
        store: BringingBackStore,
        host: str,
    ) -> None:
        self._folders = folders
        self._presence = presence
        self._store = store
        self._host = host

    async def open(self, found: Presence, database: UUID) -> Opened:
        """Go on with a journal of this database, or begin one."""
        folder, lock, has_foreign = await asyncio.to_thread(self._take, found, database)
        try:
            if has_foreign:
                await self._warn_of_foreign()
            return Opened(folder, lock, await asyncio.to_thread(Writer, folder, database))
        except BaseException:
            lock.release()  # or it would look like another process's the next time
            raise

    def _take(self, found: Presence, database: UUID) -> tuple[Path, Lock, bool]:
        """A journal that is not the copy of another process's."""
        while True:
            folder, lock, has_foreign = self._folders.take(database)
            me, kept = found.processes.get(folder.name), beats.read(folder)
            if me is None or kept is None or not _is_copy(kept, me):
                return folder, lock, has_foreign
            copy = self._folders.set_aside(folder)
            lock.release()
            log.error(
                "journal_is_a_copy",
                folder=str(folder),
                now=copy.name,
                of=f"the process on {me.host}",
                consequence="that process goes on with its journal, and this one begins its own",
                todo="delete it; every machine needs a DLR_SPOOL_DIR of its own",
            )

    async def _warn_of_foreign(self) -> None:
        log.error(
            "journal_of_another_database",
            folder=str(self._folders.root),
            consequence="nothing of it is brought back into this database",
        )
        if await self._store.has_queued():
            reason = "this database is not the one that the journals here belong to"
            await self._presence.hold(f"a process on {self._host}", reason)


def _is_copy(kept: Beats, me: Process) -> bool:
    """Whether a process of this name has written a beat since these were kept: then it uses another
    folder. A row that other processes have restored has no host, and does not count.
    """
    return me.host != "" and me.beat not in kept.known and me.seen_at > kept.at
