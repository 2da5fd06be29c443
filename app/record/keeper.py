"""Notices when the database has forgotten something, and brings it back from the journal.

Every second it swaps a nonce in the database, its heartbeat ("beat"), and writes a watermark
("mark"): a database that has the mark has everything that the journal holds before it. A database
without the newest beat, or of another generation (a restart, a failover), begins a new incarnation;
then everything since the newest mark that it has is brought back. docs/architecture.md has the
rules.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from app.errors import ServiceError, StoreUnavailable
from app.model.fact import Met, Position
from app.record import beats
from app.record.beats import Beats
from app.record.folders import Folders
from app.record.forgetting import why_forgotten
from app.record.housekeeping import Housekeeper
from app.record.journal import Journal
from app.record.marks import Decisions, Marks
from app.record.opening import Opener
from app.record.reading import Start, find_start
from app.record.restorer import Report, Restorer
from app.record.segments import Lock
from app.store.incarnation import Claimant, Incarnation, Presence
from app.store.permission import Permit
from app.store.presence import PresenceStore

BEAT = 1.0
"""Seconds between two beats."""
_LOST_AGAIN = "the database lost its incarnations again"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Swap:
    """A beat that is being written. The next one waits until it is known that this one is there."""

    beat: UUID
    mark: Position | None
    others: frozenset[str]


class Keeper:
    """One for each process. Without a journal it only looks whether the queue is held."""

    def __init__(
        self,
        *,
        journal: Journal,
        folders: Folders,
        presence: PresenceStore,
        permit: Permit,
        opener: Opener,
        restorer: Restorer,
        housekeeper: Housekeeper,
        host: str,
        on_forgotten: Callable[[int], None],
    ) -> None:
        """``on_forgotten`` is called with the number of the newest event that the database still
        has; connections from before are not to be used any more.
        """
        self._journal = journal
        self._folders = folders
        self._presence = presence
        self._permit = permit
        self._opener = opener
        self._restorer = restorer
        self._housekeeper = housekeeper
        self._on_forgotten = on_forgotten
        self._host = host
        self._lock = asyncio.Lock()
        self._folder: Path | None = None
        self._file_lock: Lock | None = None
        self._claimant: Claimant | None = None
        self._newest: Incarnation | None = None
        self._swap: _Swap | None = None
        self._confirmed: Position | None = None
        self._marks = Marks(journal)
        self._decisions = Decisions(journal)
        self._others: frozenset[str] = frozenset()
        self._checking: asyncio.Task[None] | None = None
        self._greeting: asyncio.Task[None] | None = None
        self.is_held = False

    async def greet(self) -> None:
        """Find out the database's incarnation, before it is used. Raises StoreUnavailable.

        The work goes on where the caller is cancelled, as by a time limit: a long journal is read
        once.
        """
        if self._greeting is None or (self._journal.is_on and self._greeting.done()):
            greeting = self._locked_beat() if self._journal.is_on else self._leave_gaps()
            self._greeting = asyncio.create_task(greeting)
            self._greeting.add_done_callback(_retrieve)
        await asyncio.shield(self._greeting)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await asyncio.sleep(BEAT)
            try:
                await self._tick()
            except ServiceError as error:
                log.debug("beat_missed", reason=error.detail)
            except Exception:
                log.exception("beat_failed", consequence="tried again")

    async def close(self) -> None:
        """Stop, and sign off in the database unless an operation is still open."""
        for task in (self._greeting, self._checking):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        if self._journal.is_on and self._journal.is_checked and self._claimant is not None:
            with suppress(ServiceError):
                async with self._lock:
                    await self._swap_beat(stop=not self._journal.has_open)
        self._presence.close()
        self._journal.close()
        if self._file_lock is not None:
            self._file_lock.release()

    async def _tick(self) -> None:
        if not self._journal.is_on:
            self.is_held = await self._presence.is_held()
            return
        await self._locked_beat()
        if self._journal.is_checked and self._claimant is not None:
            await self._housekeeper.run_due(self._claimant, self._folder, self._confirmed)

    async def _leave_gaps(self) -> None:
        """Note in the journals that are there that what this process does is missing in them."""
        try:
            await asyncio.to_thread(self._folders.leave_gaps)
        except OSError as error:
            log.warning("journal_gap_not_noted", reason=str(error))

    async def _locked_beat(self) -> None:
        async with self._lock:
            await self._beat()

    async def _beat(self) -> None:
        if self._claimant is None:
            await self._determine_incarnation()
        elif not await self._swap_beat():
            await self._determine_incarnation()
            return
        if self._checking is None or self._checking.done():
            self._start_check_if_needed()

    # Beats and marks

    async def _swap_beat(self, *, stop: bool = False) -> bool:
        """Write the next beat, and a mark with it where there is anything new."""
        mine = self._claimant
        if mine is None:
            return False
        if self._swap is None:
            self._swap = self._next_swap()
        swap = self._swap
        mine.beats = (mine.beats[0], swap.beat)
        if self._folder is not None and self._newest is not None:
            beats.write(self._folder, self._beats(self._newest.n, mine))
        found, is_done = await self._presence.beat(
            mine,
            next_beat=swap.beat,
            mark=swap.beat if swap.mark is not None else None,
            knows=swap.others,
            checked_in=self._journal.is_checked,
            stop=stop,
        )
        if is_done:
            self._see(found)  # not if the beat failed: the database may have forgotten a hold
            mine.beats, mine.beaten_at = (swap.beat,), time.monotonic()
            if found.newest is not None:
                mine.imprint = found.newest.imprint  # a release writes the row anew
            self._swap = None
            if swap.mark is not None:
                self._confirmed = swap.mark
        return is_done

    def _next_swap(self) -> _Swap:
        beat = uuid4()
        return _Swap(beat, self._marks.next(beat, self._others), self._others)

    def _see(self, found: Presence) -> None:
        me = self._folder.name if self._folder else ""
        self._others = _running(found) - {me}
        self.is_held = found.hold is not None
        self._decisions.note(found)

    # Which incarnation it is

    async def _determine_incarnation(self) -> None:
        found = await self._presence.look()
        if found.newest is None:
            found = await self._begin(found, "the first start with a journal")
        if self._folder is None:
            await self._open(found)
        if self._folder is None:
            return
        why = await self._why_forgotten(found)
        if why is not None:
            log.warning(
                "database_may_have_forgotten",
                why=why,
                consequence="what was acknowledged since is brought back from the journals; until "
                "then nothing that was queued before is sent",
            )
            found = await self._begin(found, why)
        await self._adopt(found)

    async def _begin(self, found: Presence, why: str) -> Presence:
        me = self._folder.name if self._folder else ""
        await self._presence.begin(found.newest, me=me, host=self._host, why=why)
        return await self._presence.look()

    async def _open(self, found: Presence) -> None:
        if found.database is None:
            raise StoreUnavailable(_LOST_AGAIN)
        try:
            opened = await self._opener.open(found, found.database)
        except OSError as error:
            self._journal.suspend(str(error))
            self._permit.is_on = False
            return
        self._folder, self._file_lock = opened.folder, opened.lock
        self._journal.open(opened.writer)
        self._permit.is_on = True

    async def _why_forgotten(self, found: Presence) -> str | None:
        newest, folder, mine = found.newest, self._folder, self._claimant
        if newest is None or folder is None:
            raise StoreUnavailable(_LOST_AGAIN)
        if mine is None or self._newest is None:
            known = await asyncio.to_thread(beats.read, folder)
        else:
            known = self._beats(self._newest.n, mine)
        return why_forgotten(found, newest, folder.name, known)

    async def _adopt(self, found: Presence) -> None:
        newest, folder = found.newest, self._folder
        if newest is None or folder is None:
            raise StoreUnavailable(_LOST_AGAIN)
        is_first = self._claimant is None
        self._claimant = self._permit.claimant = None
        self._swap = None
        self._newest = newest
        self._journal.adopt(newest.nonce)
        self._confirmed = None
        self._marks.begin()
        self._housekeeper.begin()
        if self._checking is not None:
            self._checking.cancel()
        if not is_first:
            self._on_forgotten(newest.last_event)
        me = found.processes.get(folder.name)
        start = await asyncio.to_thread(find_start, folder, None if me is None else me.mark)
        others = (start.others | _running(found)) - {folder.name}
        self._journal.note(Met(tuple(sorted(others))))
        beat = uuid4()
        in_doubt = (beat if me is None else me.beat, beat)
        mine = Claimant(folder.name, found.generation, newest.nonce, in_doubt, newest.imprint)
        beats.write(folder, self._beats(newest.n, mine))
        await self._presence.register(folder.name, host=self._host, beat=beat, others=others)
        self._others = others
        mine.beats = (beat,)
        self._claimant = self._permit.claimant = mine
        self._checking = asyncio.create_task(self._check(newest, found.generation, start))

    def _beats(self, n: int, mine: Claimant) -> Beats:
        """What the database has, unless it has forgotten."""
        imprint = mine.imprint if self._presence.imprints_last else None
        now = self._presence.now()
        return Beats(n, mine.incarnation, mine.beats[0], mine.beats[-1], now, imprint)

    # Bringing back

    def _start_check_if_needed(self) -> None:
        """Begin a check again from the start that was broken off, as by an outage."""
        if not self._journal.is_checked:
            self._claimant = self._permit.claimant = None

    async def _check(self, newest: Incarnation, generation: str, start: Start) -> None:
        try:
            await self._check_journal(newest, generation, start)
        except ServiceError as error:
            log.warning("journal_check_broken_off", reason=error.detail, consequence="tried again")
        except Exception:
            log.exception("journal_check_failed", consequence="tried again")

    async def _check_journal(self, newest: Incarnation, generation: str, start: Start) -> None:
        folder = self._folder
        if folder is None:
            return
        began = time.monotonic()
        report, position = Report.begin(start, newest.nonce), start.position
        # Twice: facts that were written meanwhile may depend on what was brought back.
        for _ in range(2):
            until = self._journal.end
            await self._restorer.bring_back(
                folder,
                position,
                until,
                incarnation=newest.nonce,
                generation=generation,
                report=report,
            )
            position = until
        await self._restorer.finish(folder, report)
        async with self._lock:
            if self._journal.incarnation != newest.nonce or self._claimant is None:
                return
            self._journal.checked.set()
            try:
                is_known = await self._swap_beat()
            except BaseException:
                self._journal.checked.clear()
                raise
            if not is_known:
                self._journal.checked.clear()
                raise StoreUnavailable("the database has forgotten once more")
        report.log(folder, began)
        self._housekeeper.look_for_orphans_now()


def _running(found: Presence) -> frozenset[str]:
    return frozenset(name for name, one in found.processes.items() if not one.is_stopped)


def _retrieve(task: asyncio.Task[None]) -> None:
    """Retrieve an exception whose callers were cancelled, which asyncio would log otherwise."""
    if not task.cancelled():
        task.exception()
