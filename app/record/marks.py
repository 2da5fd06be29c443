"""What the keeper writes into its journal about the database: marks, and operators' decisions."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from app.model.fact import Held, Mark, Position
from app.record.journal import Journal
from app.store.incarnation import Presence


class Marks:
    """Writes marks: first to the journal, then with the beat of that nonce to the database."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._newest = (-1, frozenset[str]())

    def begin(self) -> None:
        """In a new incarnation: no mark is in the database."""
        self._newest = (-1, frozenset())

    def next(self, nonce: UUID, others: frozenset[str]) -> Position | None:
        """Write a mark, if there is anything new and all older facts are brought back.

        Returns its ``start``; None if none was written.
        """
        is_new = (self._journal.written, others) != self._newest
        if not self._journal.is_checked or not is_new or self._journal.incarnation is None:
            return None
        # Read before the mark is written: a fact that is under way may land on either side of it.
        start, end = self._journal.settled_up_to, self._journal.end
        mark = Mark(nonce, start, self._journal.incarnation, tuple(sorted(others)))
        if not self._journal.note(mark):
            return None
        self._newest = (self._journal.written if start == end else -1, others)
        return start


class Decisions:
    """Notes operators' holds and settlements of the queue, since commands have no journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._hold_noted = False
        self._settled: set[UUID] = set()

    def note(self, found: Presence) -> None:
        """Write those that are new. While the journal is not open they wait for a later call."""
        if self._journal.folder is None:
            return
        hold = found.hold
        if (hold is not None) != self._hold_noted:
            now = datetime.now(UTC)
            fact = Held(hold.held_at, hold.held_by, hold.reason) if hold else Held(now, "", None)
            self._hold_noted = self._journal.note(fact) and hold is not None
        for settled in found.settlements:
            if settled.id not in self._settled:
                self._journal.note(settled)
                self._settled.add(settled.id)
