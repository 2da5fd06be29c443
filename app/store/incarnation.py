"""Incarnations of the database, the processes registered in it, and what one of them claims.

An incarnation is the database between two moments at which it forgot something, as by a restore or
a failover. docs/architecture.md has the rules.
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
    """The database since it last forgot something."""

    n: int
    nonce: UUID
    generation: str
    last_event: int
    begun_at: datetime
    why: str
    imprint: Imprint

    @property
    def is_released(self) -> bool:
        """Whether an operator said that nobody is waited for."""
        return self.imprint.is_released


@dataclass(frozen=True, slots=True)
class Process:
    """A process with a journal, as the database has it."""

    name: str
    host: str
    beat: UUID
    mark: UUID | None
    incarnation: UUID | None
    is_stopped: bool
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Hold:
    """The queue is held: nothing in it is sent."""

    held_at: datetime
    held_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Presence:
    """What a process finds in the database. ``database`` is the first incarnation's nonce: it tells
    a database that has forgotten from another one.
    """

    generation: str
    newest: Incarnation | None
    database: UUID | None
    processes: Mapping[str, Process]
    hold: Hold | None
    settlements: tuple[Settled, ...] = ()

    @property
    def absent(self) -> list[Process]:
        """Who has not brought back everything yet."""
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
    """What this process claims to be. ``beats``: one of them is in the database, unless that has
    forgotten; two while a swap is in doubt. ``imprint``: of the incarnation's row, unless a dump
    was put back.
    """

    name: str
    generation: str
    incarnation: UUID
    beats: tuple[UUID, ...]
    imprint: Imprint
    beaten_at: float = field(default_factory=time.monotonic)
