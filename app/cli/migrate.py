"""`dlr migrate`: the only thing that changes the schema of a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from app.cli.configuration import load
from app.cli.database import with_database
from app.cli.output import AsJson, print_json, remark
from app.errors import ConfigurationError
from app.store.engine import Database
from app.store.releases import Revision, Standing, State
from app.store.schema import go_back, in_words, pending, state
from app.store.schema import migrate as migrate_schema

TO_DO = 3
"""The exit code of ``--check`` where there is something to do; 0 is nothing, 1 is a failure."""


@dataclass(frozen=True, slots=True)
class Found:
    """The schema, and what is to be done."""

    state: State
    steps: list[Revision]


def add_to(cli: typer.Typer) -> None:
    """Register the command."""
    cli.command(epilog="Example: DLR_DATABASE_URL=postgresql://dlr@db/dlr dlr migrate")(migrate)


def migrate(
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Change nothing; say what would be done. Exit code 0: nothing, 3: something, "
            "1: the schema is newer and breaking, or cannot be looked at.",
        ),
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="REVISION", help="Go back to this revision, where that loses nothing."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring the database's schema up to date. Safe twice, from two places, and under load."""
    if check and to is not None:
        raise ConfigurationError("--check and --to do not go together.")
    if check:
        _show_check(with_database(load(), _look, is_migration=True), as_json=as_json)
        return
    work = _upgrade if to is None else _going_back(to)
    found = with_database(load(), work, is_migration=True, makes_file=to is None)
    words = in_words(found.state) if to is None else f"The schema is at {found.state.found}."
    if as_json:
        print_json(_as_json(found))
    else:
        typer.echo(words)


async def _upgrade(database: Database) -> Found:
    return Found(await migrate_schema(database, remark), [])


def _going_back(to: str) -> Callable[[Database], Coroutine[Any, Any, Found]]:
    async def work(database: Database) -> Found:
        await go_back(database, to, remark)
        return await _look(database)

    return work


async def _look(database: Database) -> Found:
    return Found(await state(database), await pending(database))


def _show_check(found: Found, *, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(found))
    else:
        _print_check(found)
    if found.state.standing is Standing.BEHIND:
        raise typer.Exit(TO_DO)
    if not found.state.usable:
        raise typer.Exit(1)


def _print_check(found: Found) -> None:
    if found.state.standing is not Standing.BEHIND or not found.steps:
        typer.echo(in_words(found.state))
        return
    typer.echo(f"The schema is at {found.state.found or 'nothing'}. `dlr migrate` would run:")
    for step in found.steps:
        typer.echo(f"{step.name}: {step.about}")
        typer.echo(f"  locks: {step.locks}")
        if step.breaking:
            typer.echo(f"  breaking: {step.breaking}. Processes that it breaks stop taking sends.")
        typer.echo(f"  going back would lose: {step.loses or 'nothing'}")


def _as_json(found: Found) -> dict[str, Any]:
    return {
        "standing": found.state.standing,
        "schema": found.state.found,
        "needed": found.state.needed,
        "usable": found.state.usable,
        "breaking": found.state.breaking,
        "pending": [
            {
                "revision": step.name,
                "about": step.about,
                "locks": step.locks,
                "breaking": step.breaking,
                "going_back_loses": step.loses,
            }
            for step in found.steps
        ],
    }
