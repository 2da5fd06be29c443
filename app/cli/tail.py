"""`dlr tail`: status changes as they happen."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from app.cli.history import utc
from app.cli.output import coloured, console, harmless, print_json
from app.cli.service import connect
from iovox_receipts import Event


def add_to(cli: typer.Typer) -> None:
    """Register the command."""
    cli.command(epilog="Example: dlr tail --status FAILED --status EXPIRED --json | jq .")(tail)


def tail(
    status: Annotated[
        list[str] | None, typer.Option(help="Only these statuses; give it several times.")
    ] = None,
    message: Annotated[str | None, typer.Option(help="Only this message, by either id.")] = None,
    reference: Annotated[str | None, typer.Option(help="Only messages with this name.")] = None,
    after: Annotated[
        str | None, typer.Option(help="Begin after this event's id, and not with what comes now.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show status changes as they are committed, until Ctrl-C; an outage is waited for."""
    out = console()
    with connect() as client:
        events = client.stream(after=after, message=message, status=status, reference=reference)
        for event in events:
            if as_json:
                print_json(event.raw)
            else:
                out.print(_line(event), soft_wrap=True)


def _line(event: Event) -> Text:
    words = Text(f"{utc(event.at)} UTC  ")
    words.append(coloured(f"{event.status:<12}"))
    words.append(f"  {event.message_id}")
    if event.contradictory:
        words.append("  contradictory")
    if event.reference:
        words.append(f"  {harmless(event.reference)}")
    return words
