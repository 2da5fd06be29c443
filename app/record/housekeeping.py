"""Periodic work in the folder of journals: those of dead processes, and segments that are old."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from app.model.fact import Position
from app.record.folders import Folders
from app.record.orphans import Orphans
from app.store.incarnation import Claimant
from app.store.presence import PresenceStore

ORPHANS_EVERY = 10.0
"""Seconds between two looks for journals whose processes have died."""
TIDY_EVERY = 60.0


class Housekeeper:
    """``keep_for``: seconds that facts are kept."""

    def __init__(
        self, *, folders: Folders, presence: PresenceStore, orphans: Orphans, keep_for: float
    ) -> None:
        self._folders = folders
        self._presence = presence
        self._orphans = orphans
        self._keep_for = keep_for
        self._orphans_at = self._tidied_at = 0.0

    def begin(self) -> None:
        """The database is in a new incarnation."""
        self._orphans.begin()

    def look_for_orphans_now(self) -> None:
        """At the next call: where facts of ours were missing, theirs may be missing as well."""
        self._orphans_at = 0.0

    async def run_due(
        self, mine: Claimant, folder: Path | None, confirmed: Position | None
    ) -> None:
        """Do what is due; to be called once our own ``folder`` is brought back. ``confirmed``: the
        newest mark's position in it, before which the database has everything.

        Raises StoreUnavailable.
        """
        now = time.monotonic()
        if now - self._orphans_at > ORPHANS_EVERY:
            self._orphans_at = now
            await self._orphans.bring_back(mine)
        if now - self._tidied_at > TIDY_EVERY:
            self._tidied_at = now
            if folder is not None and confirmed is not None:
                await asyncio.to_thread(self._tidy, folder, confirmed)
            await self._presence.forget_stopped(self._keep_for)

    def _tidy(self, folder: Path, confirmed: Position) -> None:
        segment, _ = confirmed
        self._folders.delete_old(folder, self._keep_for, segment)
        self._folders.tidy(self._keep_for)
