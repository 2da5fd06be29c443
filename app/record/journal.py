"""The journal of this process: facts are written to local disk before they are acknowledged.

Promise: what is acknowledged stands in the journal, so that it can be brought back if the database
forgets it (``app.record.keeper``). Two ways to write a fact, for two kinds of it:

- ``write_ahead``: the fact is true whatever the database says (a receipt, an answer of iovox). It
  is written before the transaction, and the operation stays open until that is known to be
  committed.
- ``confirm``: the fact is that the database recorded something. It is written after the commit,
  unless the database is known to have forgotten since the transaction began: then Forgotten is
  raised, and nothing is acknowledged.

A disk that takes no facts is logged as an error and stops nothing: the database has them all the
same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from uuid import UUID

import structlog

from app.errors import StoreUnavailable
from app.model.fact import Fact, Position
from app.model.receipt import Arrival
from app.record.encoding import encode, encode_arrivals
from app.record.segments import Writer

_NOT_OPEN = "the journal is not open yet: the database has not been seen since the start"

_DATABASE_ALONE = "what is acknowledged now is in the database alone"
_MAKE_ROOM = "let this process write to the disk of DLR_SPOOL_DIR, and make room there"

log = structlog.get_logger(__name__)


class Forgotten(StoreUnavailable):
    """The database may have forgotten what was just committed."""

    def __init__(self) -> None:
        super().__init__("the database was restored or failed over in the middle of this")


class OpenOperation:
    """An operation whose facts the database may not have yet: marks start before them."""

    __slots__ = ("_journal", "start")

    def __init__(self, journal: Journal, start: Position) -> None:
        self._journal = journal
        self.start = start

    def close(self) -> None:
        """The database has the facts, or another operation is responsible for them."""
        self._journal._operations.discard(self)  # noqa: SLF001  two halves of one class


class Journal:
    """``is_on`` is False with DLR_JOURNAL_FOR=0: then every method does nothing.

    ``incarnation`` is that of the database, as far as this process knows; ``is_checked`` whether
    it has brought back everything since it began.
    """

    def __init__(self, *, is_on: bool = False) -> None:
        self.is_on = is_on
        self.incarnation: UUID | None = None
        self.checked = asyncio.Event()
        self.failure: str | None = None
        self.is_suspended = False
        """The disk does not take a journal: everything goes on as without one."""
        self.written = 0
        self._writer: Writer | None = None
        self._operations: set[OpenOperation] = set()

    @property
    def is_checked(self) -> bool:
        """Whether nothing is left to be brought back."""
        return not self.is_on or self.is_suspended or self.checked.is_set()

    def open(self, writer: Writer) -> None:
        """Write to this from now on."""
        self._writer = writer
        self.is_suspended = False

    def suspend(self, reason: str) -> None:
        """Go on without a journal until it can be opened."""
        if not self.is_suspended:
            log.error("journal_cannot_be_opened", reason=reason, consequence=_DATABASE_ALONE,
                      todo=_MAKE_ROOM)  # fmt: skip
        self.is_suspended = True

    def adopt(self, incarnation: UUID) -> None:
        """Another incarnation has begun: everything since a mark that it has is to be checked."""
        self.incarnation = incarnation
        self.checked.clear()

    def write_ahead(self, facts: Iterable[Fact]) -> OpenOperation:
        """Write facts before the database has them; close what is returned when it has.

        Raises StoreUnavailable before the database was seen for the first time.
        """
        return self._write_ahead(b"".join(encode(fact) for fact in facts) if self.is_on else b"")

    def write_arrivals_ahead(self, arrivals: Sequence[Arrival]) -> OpenOperation:
        """``write_ahead`` for a batch of receipts and rejected calls, as one record."""
        return self._write_ahead(encode_arrivals(arrivals) if self.is_on else b"")

    def confirm(self, facts: Iterable[Fact], began_in: UUID | None) -> None:
        """Write facts of what was committed in a transaction that began in that incarnation.

        Raises Forgotten if it is not the one of now; then none is written.
        """
        if not self.is_on or self.is_suspended:
            return
        if self.incarnation != began_in or self._writer is None:
            raise Forgotten
        self._write(b"".join(encode(fact) for fact in facts))

    def holds(self, incarnation: UUID | None) -> bool:
        """Whether what was leased in that incarnation still counts."""
        return not self.is_on or self.is_suspended or incarnation == self.incarnation

    def note(self, fact: Fact) -> bool:
        """Write a fact about the journal itself; whether the disk took it."""
        self._write(encode(fact))
        return self.failure is None

    @property
    def folder(self) -> Path | None:
        """Where it is written; None before it is open."""
        return self._writer.folder if self._writer else None

    def begin_segment(self) -> int | None:
        """Begin a new segment, so that all before it can be rewritten; returns its number.

        None where the journal is not open. Raises OSError.
        """
        return self._writer.begin_anew() if self._writer else None

    @property
    def settled_up_to(self) -> Position:
        """The position before which the database has everything, unless it has lost commits."""
        return min((each.start for each in self._operations), default=self.end)

    @property
    def has_open(self) -> bool:
        """Whether any operation is under way whose facts the database may not have."""
        return bool(self._operations)

    @property
    def end(self) -> Position:
        """Where the next fact will stand, or a place before it."""
        return self._writer.end if self._writer else (0, 0)

    def close(self) -> None:
        """Write nothing more."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def _write_ahead(self, records: bytes) -> OpenOperation:
        if self.is_on and self._writer is None and not self.is_suspended:
            raise StoreUnavailable(_NOT_OPEN)
        operation = OpenOperation(self, self.end)
        if self.is_on:
            self._operations.add(operation)
            self._write(records)
        return operation

    def _write(self, records: bytes) -> None:
        if self._writer is None or not records:
            return
        try:
            self._writer.append(records)
        except OSError as error:
            if self.failure is None:
                log.error(
                    "journal_fails",
                    reason=str(error),
                    consequence=_DATABASE_ALONE,
                    todo=_MAKE_ROOM,
                )
            self.failure = str(error)
            return
        self.written += 1
        if self.failure is not None:
            log.warning("journal_works", reason=self.failure)
            self.failure = None
