"""`dlr list` and `dlr stats`: many messages at a glance."""

from __future__ import annotations

from datetime import date
from itertools import islice
from typing import Annotated, Any

import typer
from rich.text import Text

from app.cli.history import utc
from app.cli.output import AsJson, coloured, console, print_json, print_table, show
from app.cli.service import connect
from app.cli.times import range_option
from iovox_receipts import Filters, Grouping, Message

Since = Annotated[
    date | None,
    range_option("--from", help="Created then or later: 2026-11-22T09:00:00Z, or a London day."),
]
Until = Annotated[date | None, range_option("--to", help="Created before; a day is included.")]
OfApp = Annotated[str | None, typer.Option("--app", help="Of this app; needs an admin's key.")]
YesNo = bool | None
PERCENTILES = ("p50", "p90", "p99")


def add_to(cli: typer.Typer) -> None:
    """Register the commands."""
    cli.command("list", epilog="Example: dlr list --status FAILED --from 2026-11-22T00:00:00Z")(
        list_messages
    )
    cli.command(epilog="Example: dlr stats --by day --from 2026-11-01T00:00:00Z")(stats)


def list_messages(
    status: Annotated[
        list[str] | None, typer.Option(help="Any of these; give it several times.")
    ] = None,
    destination: Annotated[str | None, typer.Option(help="However it is written.")] = None,
    origin: Annotated[str | None, typer.Option(help="The sender.")] = None,
    reference: Annotated[str | None, typer.Option(help="Your own name for it, exactly.")] = None,
    app: OfApp = None,
    final: Annotated[YesNo, typer.Option("--final/--not-final", help="Whether it ended.")] = None,
    overdue: Annotated[
        YesNo, typer.Option("--overdue/--not-overdue", help="Whether it should have ended.")
    ] = None,
    contradictory: Annotated[
        YesNo, typer.Option("--contradictory/--consistent", help="Whether receipts disagree.")
    ] = None,
    since: Since = None,
    until: Until = None,
    status_since: Annotated[
        date | None,
        range_option("--status-from", help="Has its status since then or later."),
    ] = None,
    status_until: Annotated[
        date | None, range_option("--status-to", help="Has its status since before.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List messages, newest first."""
    filters = Filters(
        status=status or None,
        destination=destination,
        origin=origin,
        reference=reference,
        app=app,
        final=final,
        overdue=overdue,
        contradictory=contradictory,
        from_=since,
        to=until,
        status_from=status_since,
        status_to=status_until,
    )
    with connect() as client:
        found = islice(client.all(**filters), limit)
        if as_json:
            show((message.raw for message in found), as_json=True)
            return
        rows = [_row(message) for message in found]
    if not rows:
        typer.echo("Nothing to show.")
        return
    columns = ("created (UTC)", "status", "id", "destination", "origin", "reference", "")
    print_table(columns, rows, fixed=4)


def stats(
    by: Annotated[
        Grouping | None, typer.Option(help="hour, day, status, reason, origin or app.")
    ] = None,
    since: Since = None,
    until: Until = None,
    app: OfApp = None,
    as_json: AsJson = False,
) -> None:
    """Count messages: how many, what became of them, how long it took."""
    with connect() as client:
        found = client.stats(by=by, from_=since, to=until, app=app)
    if as_json:
        print_json(found)
        return
    console().print(
        f"Messages created from {found['from']} to {found['to']}", markup=False, highlight=False
    )
    columns = (found["by"], "messages", "delivered", *(f"{p} s" for p in PERCENTILES), "statuses")
    total = [_figures("all", found)] if len(found["groups"]) != 1 else []
    print_table(columns, [*(_figures(g["key"], g) for g in found["groups"]), *total], fixed=6)
    if found["groups_left_out"]:
        typer.echo(f"{found['groups_left_out']} smaller groups are not shown.")


def _row(message: Message) -> tuple[object, ...]:
    odd = [name for name in ("contradictory", "overdue") if getattr(message, name)]
    return (
        message.created_at and utc(message.created_at),
        coloured(message.status),
        message.id or message.sms_activity_id,
        message.destination,
        message.origin,
        message.reference,
        " ".join(odd),
    )


def _figures(key: str | None, figures: dict[str, Any]) -> tuple[object, ...]:
    rate, seconds = figures["delivery_rate"], figures["seconds_to_delivery"]
    return (
        "-" if key is None else key,
        figures["messages"],
        "-" if rate is None else f"{rate:.1%}",
        *("-" if seconds[name] is None else seconds[name] for name in PERCENTILES),
        Text("  ").join(
            Text.assemble(coloured(status), f" {count}")
            for status, count in figures["statuses"].items()
        ),
    )
