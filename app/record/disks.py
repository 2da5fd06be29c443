"""A process's own disk: erases from it what the database has erased, and notes in the journal what
was deleted from the database, so that a restore does not bring it back.

The disk of a process is its journal, and the spool in the folder around it. Without a journal all
processes of a folder count as one, whose id is in a file there.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from app.errors import StoreRefused, StoreUnavailable, Unavailable
from app.model.erasure import Erasure
from app.model.fact import Audited, Erased, Fact
from app.model.mentions import Mentions
from app.record.blanking import Change, WithoutErased, WithoutTexts, blank, messages_with_text
from app.record.closed_segments import rewrite
from app.record.encoding import decode
from app.record.erased_lately import ErasedLately
from app.record.folders import Folders
from app.record.framing import Damaged
from app.record.journal import Journal
from app.record.segments import database_of, read_segment, segments
from app.store.erasing.disks import DiskStore
from app.store.erasing.store import LATE, ErasureStore
from app.store.removals import RemovalStore

IDENTITY = "identity"
LOOK_EVERY = 2.0
SEEN_EVERY = 60.0
TEXTS_EVERY = 15.0
"""Seconds between rewritings of the journal where it would keep texts for too long."""
LEARN_ALL_EVERY = 3600.0
"""Seconds between complete refreshes, which drop what was erased long ago."""
OVERLAP = timedelta(minutes=1)
"""How far back deletions are read again each time: commits are not in the order of their times."""
MOST_REMEMBERED = 50_000

log = structlog.get_logger(__name__)


class DiskKeeper:
    """``cleanse_spool`` returns whether nothing waits in the spool, and its file was rewritten;
    ``has_spool`` is False in a process without one. ``keep_for``: seconds that the journal keeps
    facts. ``erased`` receives what was erased lately.
    """

    def __init__(
        self,
        *,
        store: ErasureStore,
        disks: DiskStore,
        removals: RemovalStore,
        folder: Path,
        journal: Journal,
        cleanse_spool: Callable[[], Awaitable[bool]],
        erased: ErasedLately,
        keep_for: float,
        drops_texts: bool,
    ) -> None:
        """``drops_texts``: whether texts are kept for a shorter time than the journal."""
        self._store = store
        self._disks = disks
        self._removals = removals
        self._folder = folder
        self._folders = Folders(folder / "journal")
        self._journal = journal
        self._cleanse_spool = cleanse_spool
        self.has_spool = True
        self._since = timedelta(seconds=keep_for)
        self._drops_texts = drops_texts
        self._erased = erased
        self._seen_at = self._texts_at = self._learned_at = float("-inf")
        self._told: dict[object, None] = {}
        self._written = 0
        self._without_texts: set[Path] = set()
        """Segments that have no text any more."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.run_once()
            except (StoreUnavailable, StoreRefused, Unavailable) as error:
                log.warning("disk_waits", reason=error.detail)
            except OSError as error:
                log.error("disk_not_rewritten", reason=str(error))
            except Exception:
                log.exception("disk_keeper_failed")
            await asyncio.sleep(LOOK_EVERY)

    async def run_once(self) -> None:
        """What is due now: learn what was erased, tell the journal, register, confirm erasures,
        drop texts.
        """
        await self.learn()
        disk = self._identity()
        if disk is None:
            return  # the journal is not open, or the database is being looked into
        now = asyncio.get_running_loop().time()
        if now - self._seen_at >= SEEN_EVERY:
            root = identity(self._folder)
            await self._disks.see_disk(disk, socket.gethostname(), root=root)
            if self._journal.is_on:
                there = [UUID(name) for name in self._folders.names()]
                await self._disks.forget_disks(root, but=there)
            self._seen_at = now
        await self._tell_journal()
        open_ = [one for one in await self._store.open() if one.erased_at is not None]
        ours = [one for one in open_ if disk in {each.id for each in one.waiting_for}]
        if ours:
            await self._erase(disk, ours)
        if self._drops_texts and now - self._texts_at >= TEXTS_EVERY:
            self._texts_at = now
            await self._drop_texts()

    async def learn(self) -> None:
        """Read what was erased lately: later bodies of it are not written to this disk."""
        now = asyncio.get_running_loop().time()
        are_all = now - self._learned_at > LEARN_ALL_EVERY
        moment = self._removals.now() - (LATE if are_all else OVERLAP)
        found = await self._removals.erased_since(moment)
        self._erased.learn(found.ids, are_all=are_all)
        if are_all:
            self._learned_at = now

    def _identity(self) -> UUID | None:
        if not self._journal.is_on:
            return identity(self._folder)
        folder = self._journal.folder
        return UUID(folder.name) if folder is not None and self._journal.is_checked else None

    async def _tell_journal(self) -> None:
        """Note in the journal what any process has deleted since the last time."""
        if not self._journal.is_on:
            return
        incarnation = self._journal.incarnation
        found = await self._removals.since(self._removals.now() - self._since)
        new: list[Fact] = [
            Audited(entry) for entry in reversed(found.entries) if entry.id not in self._told
        ]
        ids = tuple(one for one in found.erased.ids if one not in self._told)
        erasures = tuple(one for one in found.erased.erasures if _version(one) not in self._told)
        if ids or erasures:
            new.append(Erased(ids, erasures))
        if new:
            self._journal.confirm(new, incarnation)
        told: list[object] = [entry.id for entry in found.entries]
        told += [*ids, *map(_version, erasures)]
        self._told.update(dict.fromkeys(told))
        while len(self._told) > MOST_REMEMBERED:
            del self._told[next(iter(self._told))]
        self._since = OVERLAP

    async def _erase(self, disk: UUID, erasures: Collection[Erasure]) -> None:
        if self.has_spool and not await self._cleanse_spool():
            return
        oldest = min(one.requested_at for one in erasures)
        gone = await self._removals.erased_since(oldest)
        change = WithoutErased(
            [id_ for id_, _ in gone.ids],
            [name for _, name in gone.ids if name is not None],
            [Mentions(one.number) for one in erasures if one.number],
        )
        confirmed = {disk}
        if self._journal.is_on:
            confirmed |= await self._rewrite_journals(change)
        for erasure in erasures:
            waiting = {one.id for one in erasure.waiting_for}
            for one in confirmed & waiting:
                await self._disks.confirm(erasure.id, one)

    async def _rewrite_journals(self, change: Change) -> set[UUID]:
        """Rewrite our own journal up to now, and those of processes that are gone; their ids."""
        folder, below = self._journal.folder, self._journal.begin_segment()
        if folder is None or below is None:
            return set()
        rewrite_all = partial(_rewrite_segments, change=change, below=None)
        await asyncio.to_thread(_rewrite_segments, folder, change=change, below=below)
        abandoned = await asyncio.to_thread(self._folders.rewrite_abandoned, rewrite_all)
        return {UUID(one.name) for one in abandoned}

    async def _drop_texts(self) -> None:
        """Drop the texts that the database no longer keeps from our journal, and from those whose
        processes are gone.
        """
        folder = self._journal.folder
        if folder is None or not self._journal.is_checked:
            return
        if self._journal.written != self._written and self._journal.begin_segment() is None:
            return
        self._written = self._journal.written
        newest, _ = self._journal.end
        await self._drop_texts_in(folder, [n for n in segments(folder) if n < newest])
        database = await asyncio.to_thread(database_of, folder)
        if database is None:
            return
        orphans = await asyncio.to_thread(list, self._folders.orphans(database))
        try:
            for orphan, _ in orphans:
                await self._drop_texts_in(orphan, segments(orphan))
        finally:
            for _, lock in orphans:
                lock.release()

    async def _drop_texts_in(self, folder: Path, numbers: Collection[int]) -> None:
        for number in numbers:
            segment = folder / str(number)
            if segment in self._without_texts:
                continue
            ids = await asyncio.to_thread(_ids_with_text, folder, number)
            gone = await self._removals.without_text(ids) if ids else set()
            if gone:
                change = WithoutTexts(gone)
                await asyncio.to_thread(rewrite, folder, number, partial(blank, change=change))
            if not ids - gone:
                self._without_texts.add(segment)


def _version(erasure: Erasure) -> tuple[UUID, bool]:
    """An erasure is noted twice: when it is done in the database, and when on every disk."""
    return erasure.id, erasure.completed_at is not None


def identity(folder: Path) -> UUID:
    """The id of a folder; one that has none is given one. Raises OSError."""
    path = folder / IDENTITY
    with suppress(OSError, ValueError):
        return UUID(path.read_text().strip())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = folder / f"{IDENTITY}.{uuid4().hex}"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{uuid4()}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(new, path)  # fails if another process was first
    except FileExistsError:
        with suppress(ValueError):
            return UUID(path.read_text().strip())
        new.replace(path)  # it was damaged
    finally:
        new.unlink(missing_ok=True)
    return UUID(path.read_text().strip())


def _rewrite_segments(folder: Path, *, change: Change, below: int | None) -> None:
    for number in segments(folder):
        if below is None or number < below:
            rewrite(folder, number, partial(blank, change=change))


def _ids_with_text(folder: Path, number: int) -> set[UUID]:
    found: set[UUID] = set()
    for located in read_segment(folder, number):
        if located is not None:
            with suppress(Damaged):
                found |= messages_with_text(decode(located.raw))
    return found
