"""The database's schema: whether this release can use it, and migrating to the one that it needs.

A release uses its own schema and any newer one that says it is compatible (see ``releases``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from app.errors import ConfigurationError, SchemaBehind, SchemaUnusable
from app.store.engine import Database
from app.store.migrating import Tell, alone, run_step, scripts
from app.store.releases import (
    Revision,
    Standing,
    State,
    announce,
    announce_going_back,
    judge,
    read,
    record,
    revisions,
)

NOTICE = 5.0
"""Seconds between announcing a breaking migration and running it: every process reads the schema's
state more often (``schema_guard.EVERY``), and stops using it in time."""


async def state(database: Database) -> State:
    """How the schema stands to this release. Raises StoreUnavailable."""
    async with database.look() as connection:
        return await connection.run_sync(_state)


async def require_current(database: Database) -> State:
    """The schema, where this release can use it: its own, or a newer one that is compatible.

    Raises SchemaBehind for an older one, SchemaUnusable for one that is newer and breaking or not
    known, and StoreUnavailable.
    """
    found = await state(database)
    if found.standing is Standing.BEHIND:
        raise SchemaBehind(in_words(found))
    if not found.usable:
        raise SchemaUnusable(in_words(found))
    return found


def in_words(found: State) -> str:
    """How the schema stands, and what to do."""
    match found.standing:
        case Standing.BEHIND if found.found == found.needed:
            return (
                f"The database's schema, {found.needed}, is about to go back to an older one. "
                "If that was broken off, run `dlr migrate`."
            )
        case Standing.BEHIND:
            return (
                f"The database's schema is at {found.found or 'nothing'}, and this version needs "
                f"{found.needed}. "
                "Run `dlr migrate` with the same DLR_DATABASE_URL, then start again."
            )
        case Standing.NEWER_COMPATIBLE:
            return (
                f"The database's schema is at {found.found}: newer than this version's "
                f"{found.needed}, and compatible with it."
            )
        case Standing.NEWER_BREAKING:
            return (
                f"The database's schema is at {found.found}: newer than this version's "
                f"{found.needed}, and this version cannot use it: {found.breaking}. "
                "Start the newer version."
            )
        case Standing.UNKNOWN:
            return (
                f"The database's schema is at {found.found}, which this version does not know, and "
                f"which does not name this version's {found.needed}. "
                "Start the version that made it."
            )
        case Standing.CURRENT:
            return "The schema is up to date."


async def pending(database: Database) -> list[Revision]:
    """The migrations that ``migrate`` would run. Raises StoreUnavailable."""
    async with database.look() as connection:
        return await connection.run_sync(_pending)


async def migrate(database: Database, tell: Tell = lambda _: None) -> State:
    """Bring the schema up to date; a newer one that is compatible is left as it is.

    Safe to call from several processes at once, and beside running ones. ``tell`` is called with a
    line for each step. Raises SchemaUnusable for a newer one that is breaking, and
    StoreUnavailable, also where locks were not to be had in time; what was migrated until then
    stays.
    """
    found = await state(database)
    if found.standing is not Standing.BEHIND:
        return await require_current(database)
    async with alone(database, tell):
        steps = await pending(database)
        if not steps:  # another process migrated it, or going back was aborted
            await _withdraw_notice(database)
        await _give_notice(database, steps, tell)
        try:
            for step in steps:
                tell(f"{step.name}: {step.about}")
                await run_step(database, step.name, down=False, tell=tell)
        except BaseException:
            await _withdraw_notice(database)
            raise
    return await require_current(database)


async def go_back(database: Database, to: str, tell: Tell = lambda _: None) -> None:
    """Downgrade the schema to the revision ``to``.

    Raises ConfigurationError where that would lose something or ``to`` is not known, SchemaUnusable
    for a schema that this release does not know, and StoreUnavailable.
    """
    known = _known()
    if to not in (each.name for each in known):
        names = ", ".join(each.name for each in known)
        raise ConfigurationError(f"There is no revision {to[:60]}. There are: {names}.")
    async with alone(database, tell):
        found = await state(database)
        if found.found not in (None, *(each.name for each in known)):
            raise SchemaUnusable(
                f"The schema is at {found.found}: "
                "the way back from there is known only to the version that made it."
            )
        applied = await _applied(database)
        steps = [each for each in known if each.name in applied]
        steps = steps[[each.name for each in steps].index(to) + 1 :] if to in applied else []
        if losses := [f"  {each.name}: {each.loses}" for each in steps if each.loses]:
            raise ConfigurationError(
                f"The schema does not go back to {to}, since that would lose:\n" + "\n".join(losses)
            )
        if not steps:
            return
        tell(f"Processes that need more than {to} have {NOTICE:g} s to stop.")
        await _announce_going_back(database, to)
        try:
            await asyncio.sleep(NOTICE)
            for step, before in reversed(list(zip(steps, [to, *_names(steps)], strict=False))):
                tell(f"back from {step.name}: {step.about}")
                await run_step(database, before, down=True, tell=tell)
        except BaseException:
            await _withdraw_notice(database)
            raise


@cache
def _known() -> Sequence[Revision]:
    return revisions(scripts())


def _names(steps: Sequence[Revision]) -> list[str]:
    return [each.name for each in steps]


def _state(connection: Connection) -> State:
    known = _known()
    names = [each.name for each in known]
    releases = read(connection)
    own = any(each.revision == names[-1] and each.applied for each in releases)
    version = names[-1] if own else _version(connection)
    return judge(needed=names[-1], known=names, version=version, releases=releases)


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _pending(connection: Connection) -> list[Revision]:
    known = _known()
    version = _version(connection)
    done = next((each.sequence for each in known if each.name == version), 0)
    unknown = version is not None and not done
    return [] if unknown else [each for each in known if each.sequence > done]


async def _applied(database: Database) -> set[str]:
    left = set(_names(await pending(database)))
    return {each.name for each in _known()} - left


async def _give_notice(database: Database, steps: Sequence[Revision], tell: Tell) -> None:
    """Announce breaking steps, and give processes time to stop; an empty database has none."""
    known = _known()
    breaking = [each for each in steps if each.breaking]
    if not breaking or len(steps) == len(known):
        return
    for each in breaking:
        tell(f"{each.name} is breaking: {each.breaking}")
    tell(f"Processes that it breaks have {NOTICE:g} s to stop.")
    async with database.write() as connection:
        await connection.run_sync(announce, known, steps[-1].name)
    await asyncio.sleep(NOTICE)


async def _announce_going_back(database: Database, to: str) -> None:
    async with database.write() as connection:
        await connection.run_sync(announce_going_back, _known(), to)


async def _withdraw_notice(database: Database) -> None:
    """Record the schema as it is, and so drop the announcement of steps that were not run."""

    def record_version(connection: Connection) -> None:
        record(connection, _known(), _version(connection))

    async with database.write() as connection:
        await connection.run_sync(record_version)
