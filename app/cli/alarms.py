"""`dlr alarms`: what is the matter with the service."""

from __future__ import annotations

import typer

from app.cli.output import AsJson, show
from app.cli.service import connect

COLUMNS = ("alarm", "began_at", "ended_at", "detail")


def add_to(cli: typer.Typer) -> None:
    """Register the command."""
    cli.command(epilog="Example: DLR_API_KEY=... dlr alarms --all")(alarms)


def alarms(
    every: bool = typer.Option(False, "--all", help="Those that have ended, too."),
    as_json: AsJson = False,
) -> None:
    """List the alarms that are up. docs/operations.md has what to do about each."""
    with connect() as client:
        found = [one for one in client.alarms() if every or one["ended_at"] is None]
    show([{name: one[name] for name in COLUMNS} for one in found], as_json=as_json)
