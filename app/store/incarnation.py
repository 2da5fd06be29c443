"""Incarnations of the database, the processes registered in it, and what one of them claims.

An incarnation is the database between two losses of data, as by a restore or a failover.
docs/architecture.md, "The journal", has the rules.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from app.model.fact import Settled
from app.store.imprint import Imprint


@dataclass(frozen=True, slots=True)
class Incarnation:
    """The database since it last lost something. ``n`` counts them from 1; ``last_event`` is the
    newest event that it shares with the one before.
    """

    n: int
    nonce: UUID
    generation: str
    last_event: int
    begun_at: datetime
    why: str
    imprint: Imprint

    @property
    def is_released(self) -> bool:
        """Whether an operator ended the wait for processes that have not checked in."""
        return self.imprint.is_released


@dataclass(frozen=True, slots=True)
class Process:
    """A process with a journal, as the database has it. ``incarnation``: the last one in which it
    has brought everything back.
    """

    name: str
    host: str
    beat: UUID
    mark: UUID | None
    incarnation: UUID | None
    is_stopped: bool
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold of the queue: no process sends anything in it."""

    held_at: datetime
    held_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Presence:
    """What a process finds in the database. ``database`` is the first incarnation's nonce: it tells
    a database that has lost something from another database.
    """

    generation: str
    newest: Incarnation | None
    database: UUID | None
    processes: Mapping[str, Process]
    hold: Hold | None
    settlements: tuple[Settled, ...] = ()

    @property
    def absent(self) -> list[Process]:
        """The processes that have not brought everything back yet."""
        if self.newest is None:
            return []
        nonce = self.newest.nonce
        return [
            one
            for one in self.processes.values()
            if not one.is_stopped and one.incarnation != nonce
        ]


@dataclass(slots=True)
class Claimant:
    """What this process claims to be, and the database confirms unless it has lost something.

    ``beats``: one of them is in the database; two while it is unknown whether a swap was committed.
    ``imprint``: that of the incarnation's row. ``beaten_at``: by the monotonic clock, in seconds.
    """

    name: str
    generation: str
    incarnation: UUID
    beats: tuple[UUID, ...]
    imprint: Imprint
    beaten_at: float = field(default_factory=time.monotonic)
