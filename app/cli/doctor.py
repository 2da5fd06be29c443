"""`dlr doctor`: what is wrong with a deployment, and what to do about it.

What it examines is in `app.cli.examination`, which imports much of the service: `--help` goes
without it.
"""

from __future__ import annotations

import asyncio

import typer

from app.cli.output import AsJson, print_json


def add_to(cli: typer.Typer) -> None:
    """Register the command."""
    cli.command(epilog="Example: dlr doctor, with the settings of `dlr serve`")(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Look at settings, database, spool, processes, DLR_PUBLIC_URL and iovox. Stores nothing.

    Exit code 0 where all is well, 1 where there is something to do.
    """
    from app.cli.examination import examine  # noqa: PLC0415  see above

    findings = asyncio.run(examine())
    bad = [one for one in findings if not one.is_good]
    if as_json:
        print_json({"ok": not bad, "findings": [one.as_json() for one in findings]})
    else:
        for one in findings:
            mark = typer.style("good", fg="green") if one.is_good else typer.style("BAD ", fg="red")
            typer.echo(f"{mark}  {one.check}: {one.words}.")
            if one.remedy:
                typer.echo(f"      -> {one.remedy}.")
        typer.echo(f"{len(bad)} to mend." if bad else "All is well.")
    raise typer.Exit(1 if bad else 0)
