"""Builds the periodic work on the record: retention, roll-ups, erasures, each process's disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from app.model.message import Message
from app.record.disks import DiskKeeper
from app.record.erased_lately import ErasedLately
from app.record.erasure import Eraser
from app.record.journal import Journal
from app.record.retention import Retention
from app.record.rollups import Roller
from app.runtime.configured import days
from app.settings import Settings, erasure_key
from app.store.engine import Database
from app.store.erasing.disks import DiskStore
from app.store.erasing.store import ErasureStore
from app.store.removals import RemovalStore
from app.store.retention import RetentionStore
from app.store.rollups import RollupStore
from app.store.stats import StatsStore
from app.store.wakeups import EVENTS, WEBHOOKS, Wakeups


@dataclass(frozen=True, slots=True)
class RecordKeeping:
    """What was built."""

    roller: Roller
    retention: Retention
    eraser: Eraser
    disk: DiskKeeper


def build_record_keeping(
    settings: Settings,
    *,
    database: Database,
    stats: StatsStore,
    journal: Journal,
    erased: ErasedLately,
    cancel: Callable[[Message], Awaitable[bool]],
    cleanse_spool: Callable[[], Awaitable[bool]],
    wakeups: Wakeups,
) -> RecordKeeping:
    """``cancel`` and ``cleanse_spool``: as ``Eraser`` and ``DiskKeeper`` want them."""
    tasks = RetentionStore(database)
    erasures = ErasureStore(database)
    keep_texts_for = days(settings.keep_texts_for)
    eraser = Eraser(
        erasures,
        cancel=cancel,
        key=erasure_key(settings),
        announce=partial(wakeups.announce, EVENTS),
        wake=partial(wakeups.announce, WEBHOOKS),
    )
    disk = DiskKeeper(
        store=erasures,
        disks=DiskStore(database),
        removals=RemovalStore(database),
        folder=settings.spool_dir,
        journal=journal,
        cleanse_spool=cleanse_spool,
        erased=erased,
        keep_for=settings.journal_for,
        drops_texts=keep_texts_for is not None
        and keep_texts_for < timedelta(seconds=settings.journal_for),
    )
    return RecordKeeping(
        roller=Roller(RollupStore(database, stats), tasks),
        retention=Retention(tasks, keep_texts_for=keep_texts_for, keep_for=days(settings.keep_for)),
        eraser=eraser,
        disk=disk,
    )
