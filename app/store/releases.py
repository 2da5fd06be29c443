"""What the schema says of itself, so that a process of any release can tell whether it may use it.

A release's code knows its own migrations; of a newer schema it knows nothing. So each migration
leaves a row in `schema_releases`: its place in the order, and the first release whose code can use
the schema from then on. Old code looks up its own revision there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, delete, insert, inspect, select, update

from app.store.tables import schema_releases

NOT_SAID = "its migration does not say what going back would lose"


@dataclass(frozen=True, slots=True)
class Revision:
    """A migration of this release, as its module declares itself."""

    name: str
    sequence: int
    """Its place in the order, from 1."""
    about: str
    """The first line of its docstring."""
    breaking: str | None
    """Why the code of the release before cannot use the schema from here on; None if it can."""
    compatible_from: int
    """The sequence of the oldest revision whose code can use the schema from here on."""
    locks: str
    """What it locks, and for how long."""
    loses: str | None
    """What its downgrade would lose; None for nothing."""


@dataclass(frozen=True, slots=True)
class Release:
    """A row of `schema_releases`. ``applied`` is False while a breaking one is only announced."""

    revision: str
    sequence: int
    compatible_from: int
    breaking: str | None
    applied: bool


class Standing(StrEnum):
    """How the schema stands to the code of this release."""

    CURRENT = "current"
    BEHIND = "behind"
    NEWER_COMPATIBLE = "newer-compatible"
    NEWER_BREAKING = "newer-breaking"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class State:
    """The schema as it was found. ``needed`` is this release's revision."""

    standing: Standing
    found: str | None
    needed: str
    breaking: str | None = None
    """NEWER_BREAKING: which migration it is, and why."""

    @property
    def usable(self) -> bool:
        """Whether this release's code can use it."""
        return self.standing in (Standing.CURRENT, Standing.NEWER_COMPATIBLE)


def revisions(scripts: ScriptDirectory) -> list[Revision]:
    """All migrations, oldest first."""
    found: list[Revision] = []
    for script in reversed(list(scripts.walk_revisions())):
        found.append(_revision(script, found))
    return found


def _revision(script: Script, before: Sequence[Revision]) -> Revision:
    module = script.module
    sequence = len(before) + 1
    compatible_from = before[-1].compatible_from if before else sequence
    breaking: str | None = None
    if getattr(module, "breaking", False):
        breaking = _why(script)
        compatible_from = sequence
    elif oldest := getattr(module, "needs_code_of", None):
        # A contraction: only code before that revision still uses what it removes.
        breaking = _why(script)
        compatible_from = max(
            compatible_from, next(each.sequence for each in before if each.name == oldest)
        )
    return Revision(
        name=script.revision,
        sequence=sequence,
        about=script.doc or "",
        breaking=breaking,
        compatible_from=compatible_from,
        locks=getattr(module, "locks", "not stated"),
        loses=getattr(module, "loses", NOT_SAID),
    )


def _why(script: Script) -> str:
    why = getattr(script.module, "breaking_because", None)
    if not why:
        raise ValueError(f"migration {script.revision} breaks older code and does not say why")
    return str(why)


def judge(
    *,
    needed: str,
    known: Collection[str],
    version: str | None,
    releases: Sequence[Release],
) -> State:
    """How the schema stands. ``known``: this release's revisions; ``version``: the database's.

    ``releases`` is empty for a schema from before there was that table.
    """
    own = next((each for each in releases if each.revision == needed), None)
    if own is None or not own.applied:
        if version is None or (version in known and (releases or version != needed)):
            return State(Standing.BEHIND, version, needed)
        standing = Standing.CURRENT if version == needed else Standing.UNKNOWN
        return State(standing, version, needed)
    last = max(releases, key=lambda each: each.sequence)
    if last.compatible_from > own.sequence:
        why = [
            f"{each.revision}: {each.breaking or 'it does not say why'}"
            for each in releases
            if each.compatible_from > own.sequence
        ]
        return State(Standing.NEWER_BREAKING, last.revision, needed, why[0])
    newer = last.sequence > own.sequence
    standing = Standing.NEWER_COMPATIBLE if newer else Standing.CURRENT
    return State(standing, last.revision, needed)


def read(connection: Connection) -> list[Release]:
    """The rows in their order; none for a schema from before there was that table."""
    if not inspect(connection).has_table(schema_releases.name):
        return []
    rows = connection.execute(select(schema_releases).order_by(schema_releases.c.sequence))
    return [
        Release(
            revision=row.revision,
            sequence=row.sequence,
            compatible_from=row.compatible_from,
            breaking=row.breaking,
            applied=row.applied_at is not None,
        )
        for row in rows
    ]


def record(connection: Connection, known: Sequence[Revision], head: str | None) -> None:
    """Make the rows say that the schema is at ``head``. In the transaction that brings it there."""
    _write(connection, [each for each in known if _upto(known, head, each)], applied=True)


def announce(connection: Connection, known: Sequence[Revision], head: str) -> None:
    """Announce a migration to ``head`` ahead of it: processes that cannot use it stop in time."""
    _write(connection, [each for each in known if _upto(known, head, each)], applied=False)


def announce_going_back(connection: Connection, known: Sequence[Revision], to: str) -> None:
    """Announce a downgrade ahead of it: only code up to ``to`` may use the schema from now on."""
    names = [each.name for each in known if _upto(known, to, each)]
    connection.execute(delete(schema_releases).where(schema_releases.c.revision.not_in(names)))


def _upto(known: Sequence[Revision], head: str | None, one: Revision) -> bool:
    last = next((each.sequence for each in known if each.name == head), 0)
    return one.sequence <= last


def _write(connection: Connection, wanted: Sequence[Revision], *, applied: bool) -> None:
    if not inspect(connection).has_table(schema_releases.name):
        return
    rows = schema_releases.c
    there = {release.revision: release.applied for release in read(connection)}
    connection.execute(
        delete(schema_releases).where(rows.revision.not_in([each.name for each in wanted]))
    )
    now = datetime.now(UTC) if applied else None
    for each in wanted:
        values: dict[str, object] = {
            "sequence": each.sequence,
            "compatible_from": each.compatible_from,
            "breaking": each.breaking,
        }
        if each.name not in there:
            connection.execute(
                insert(schema_releases).values(revision=each.name, applied_at=now, **values)
            )
            continue
        if applied and not there[each.name]:
            values["applied_at"] = now
        connection.execute(
            update(schema_releases).where(rows.revision == each.name).values(**values)
        )
