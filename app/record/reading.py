"""Reads journals: where to begin for a database that has forgotten, and the facts from there on.

Everything here blocks, and is run in a thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import structlog

from app.model.fact import Arrived, Ended, Fact, Gap, Mark, Met, Position, Recorded
from app.model.status import Status
from app.record.encoding import ENDED, MARKS, decode
from app.record.framing import Damaged
from app.record.segments import Located, read, read_segment, segments

MOST_FACTS = 500
MOST_CALLS = 1_000
"""Facts, and calls to /dlr among them, that are brought back in one transaction."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin. ``others``: the processes that were seen from then on; ``is_whole``: nothing
    is missing in between; ``incarnation``: that of the mark, None where there is none.
    """

    position: Position
    others: frozenset[str]
    is_whole: bool
    incarnation: UUID | None = None


@dataclass(slots=True)
class Batch:
    """Facts that are brought back in one transaction."""

    facts: list[Fact] = field(default_factory=list)
    is_whole: bool = True


def find_start(folder: Path, mark: UUID | None) -> Start:
    """Where the facts begin that the database may not have. ``mark``: its newest one, if any."""
    others: set[str] = set()
    for number in reversed(segments(folder)):
        for found in reversed(_marks(folder, number)):
            others.update(found.others)
            if isinstance(found, Mark) and found.nonce == mark:
                return Start(found.start, frozenset(others), True, found.incarnation)
    # Without a mark in the database: everything. With one that this journal does not know, the
    # journal is of another disk, and incomplete.
    return Start((0, 0), frozenset(others), mark is None)


def batches(folder: Path, start: Position, until: Position | None) -> Iterator[Batch]:
    """The facts between two places, in order."""
    batch, size = Batch(), 0.0
    for located in read(folder, start, until):
        fact = _decoded(located)
        if fact is None or isinstance(fact, Gap):
            batch.is_whole = batch.is_whole and located is not None and fact is None
            continue
        if isinstance(fact, Mark | Met):
            continue
        batch.facts.append(fact)
        size += _size(fact)
        if size >= MOST_FACTS:
            yield batch
            batch, size = Batch(), 0.0
    yield batch


def leases_given_back(folder: Path, start: Position) -> set[tuple[UUID, UUID]]:
    """(message, lease) of attempts that this journal says were surely not sent."""
    given_back = set()
    for number in (each for each in segments(folder) if each >= start[0]):
        for located in read_segment(folder, number):
            fact = _decoded(located) if located.raw.kind == ENDED else None
            if not isinstance(fact, Ended) or fact.lease is None:
                continue
            if fact.step.status is Status.QUEUED:
                given_back.add((fact.message_id, fact.lease))
    return given_back


def _size(fact: Fact) -> float:
    if isinstance(fact, Arrived):
        return len(fact.arrivals) * MOST_FACTS / MOST_CALLS
    return len(fact.messages) if isinstance(fact, Recorded) else 1


def _decoded(located: Located | None) -> Fact | None:
    if located is None:
        return None
    try:
        return decode(located.raw)
    except Damaged as error:
        log.error("journal_record_damaged", position=located.position, why=str(error))
        return Gap()


def _marks(folder: Path, number: int) -> list[Mark | Met]:
    marks = (
        _decoded(located) for located in read_segment(folder, number) if located.raw.kind in MARKS
    )
    return [mark for mark in marks if isinstance(mark, Mark | Met)]
