"""`dlr purge`: deletes what is old. Works on the database; whoever has its URL is trusted."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import typer

from app.cli.actor import os_actor
from app.cli.configuration import load
from app.cli.database import with_database
from app.cli.output import remark
from app.record.retention import Counts, Purger
from app.store.engine import Database
from app.store.retention import RetentionStore

A_DAY = timedelta(days=1)
UNITS = {"d": A_DAY, "h": timedelta(hours=1), "m": timedelta(minutes=1)}
LONGEST = timedelta(days=36_500)
REMARK_EVERY = 20
"""Batches between two lines of progress."""

_AGE = re.compile(r"(\d{1,6})([dhm])", re.ASCII)


def add_to(cli: typer.Typer) -> None:
    """Register the command."""
    cli.command(epilog="Example: dlr purge --older-than 400d --dry-run")(purge)


def _age(text: str) -> timedelta:
    match = _AGE.fullmatch(text.strip())
    if match is None or (age := int(match[1]) * UNITS[match[2]]) > LONGEST:
        raise typer.BadParameter("must be a number with a unit, such as 400d, 36h or 90m")
    return age


def purge(
    older_than: Annotated[
        timedelta, typer.Option(parser=_age, metavar="AGE", help="Such as 400d, 36h or 90m.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be deleted, and delete nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Needed for what is younger than a day.")
    ] = False,
) -> None:
    """Delete messages with all that hangs on them, receipts of nobody, rejected calls, events and
    audit entries. What waits to be sent stays. Interrupted, it goes on where it was when run again.
    """
    if older_than < A_DAY and not (yes or dry_run):
        raise typer.BadParameter(
            "what is younger than a day is deleted only with --yes", param_hint="--older-than"
        )
    if dry_run:
        found = with_database(load(), lambda database: _count(database, older_than))
        typer.echo(f"Would be deleted: {_in_words(found)}.")
        return
    done = with_database(load(), lambda database: _purge(database, older_than))
    typer.echo(f"Deleted: {_in_words(done)}.")


async def _count(database: Database, age: timedelta) -> Counts:
    store = RetentionStore(database)
    return await store.count(store.now() - age)


async def _purge(database: Database, age: timedelta) -> Counts:
    store = RetentionStore(database)
    batches = 0

    def progress(counts: Counts) -> None:
        nonlocal batches
        batches += 1
        if batches % REMARK_EVERY == 0:
            remark(f"So far: {_in_words(counts)}.")

    before = store.now() - age
    return await Purger(store).purge(before, actor=os_actor(), progress=progress)


def _in_words(counts: Counts) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
