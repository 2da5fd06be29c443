"""Journals of processes that have died: another process of the machine brings back their facts."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from app.record.folders import Folders
from app.record.reading import find_start
from app.record.restorer import Report, Restorer
from app.store.incarnation import Claimant, Presence
from app.store.presence import PresenceStore


class Orphans:
    """``bring_back`` is called from time to time; ``begin`` in each incarnation of the database."""

    def __init__(self, *, folders: Folders, presence: PresenceStore, restorer: Restorer) -> None:
        self._folders = folders
        self._presence = presence
        self._restorer = restorer
        self._done: set[str] = set()

    def begin(self) -> None:
        """Bring everything back anew: the database may have forgotten it again."""
        self._done.clear()

    async def bring_back(self, mine: Claimant) -> None:
        """Bring back every journal that no process holds; then nobody waits for its process."""
        found = await self._presence.look()
        if found.database is None:
            return
        orphans = await asyncio.to_thread(list, self._folders.orphans(found.database))
        try:
            for folder, _ in orphans:
                if folder.name not in self._done:
                    await self._bring_back(folder, found, mine)
                    self._done.add(folder.name)
        finally:
            for _, lock in orphans:
                lock.release()

    async def _bring_back(self, folder: Path, found: Presence, mine: Claimant) -> None:
        there = found.processes.get(folder.name)
        if there is not None and there.is_stopped:
            return
        began = time.monotonic()
        start = await asyncio.to_thread(find_start, folder, None if there is None else there.mark)
        report = Report.begin(start, mine.incarnation)
        await self._restorer.bring_back(
            folder,
            start.position,
            None,
            incarnation=mine.incarnation,
            generation=mine.generation,
            report=report,
        )
        await self._restorer.finish(folder, report)
        await self._presence.retire(folder.name, mine.incarnation)
        report.log(folder, began)
