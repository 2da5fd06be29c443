"""Builds what keeps the journal, and brings back from it what a database has forgotten."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import datetime

from app.receive.recorder import Recorder
from app.record.folders import Folders
from app.record.housekeeping import Housekeeper
from app.record.journal import Journal
from app.record.keeper import Keeper
from app.record.opening import Opener
from app.record.orphans import Orphans
from app.record.restorer import Restorer
from app.settings import Settings
from app.store.bringing_back import BringingBackStore
from app.store.engine import Database
from app.store.forks import ForkStore
from app.store.permission import Permit
from app.store.presence import PresenceStore
from app.store.queue import QueueStore
from app.store.removals import RemovalStore


def build_keeper(
    settings: Settings,
    *,
    database: Database,
    journal: Journal,
    permit: Permit,
    recorder: Recorder,
    purge: Callable[[datetime], None],
    on_forgotten: Callable[[int], None],
) -> Keeper:
    """``recorder`` stores calls to /dlr that are brought back; ``purge`` repeats a purge."""
    store, presence = BringingBackStore(database), PresenceStore(database)
    host = socket.gethostname()
    folders = Folders(settings.spool_dir / "journal")
    restorer = Restorer(
        store=store,
        presence=presence,
        queue=QueueStore(database),
        record=recorder.record,
        host=host,
        removals=RemovalStore(database),
        forks=ForkStore(database),
        purge=purge,
    )
    return Keeper(
        journal=journal,
        folders=folders,
        presence=presence,
        permit=permit,
        opener=Opener(folders=folders, presence=presence, store=store, host=host),
        restorer=restorer,
        housekeeper=Housekeeper(
            folders=folders,
            presence=presence,
            orphans=Orphans(folders=folders, presence=presence, restorer=restorer),
            keep_for=settings.journal_for,
        ),
        host=host,
        on_forgotten=on_forgotten,
    )
