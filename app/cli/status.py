"""`dlr status`: what became of one message."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

import typer

from app.cli.history import headline, history_table, in_words, utc
from app.cli.ids import id_argument
from app.cli.output import (
    AsJson,
    coloured,
    console,
    harmless,
    print_json,
    print_table,
    remark,
    show,
)
from app.cli.service import connect
from app.model.numbers import looks_like_number
from iovox_receipts import Client, Message, NotFound

LATEST = 10
"""Messages that are shown for a phone number."""
COLUMNS = ("created (UTC)", "status", "id", "origin", "reference", "why")

FACTS = (
    "id",
    "sms_activity_id",
    "app",
    "reference",
    "origin",
    "destination",
    "send_at",
    "expires_at",
    "resend_of",
    "resent_as",
    "c2c_failover_link_id",
)


def add_to(cli: typer.Typer) -> None:
    """Register the command."""
    cli.command(epilog="Example: dlr status 0193e0c4-7a1b-7cc3-98c4-dc0c0c07398f --watch")(status)


def status(
    message_id: Annotated[
        str,
        id_argument(
            metavar="ID",
            help="Our id, or iovox's sms_activity_id; or a phone number, for its last.",
        ),
    ],
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until the status is final.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds after which --watch ends in any case.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what became of a message, with its whole history; or of a number's last messages."""
    with connect() as client:
        if looks_like_number(message_id) and not _is_id(client, message_id):
            _print_latest(client, message_id, as_json=as_json)
            return
        if not watch:
            _print(client.status(message_id), as_json=as_json)
            return
        for message in client.watch(message_id, timeout=timeout):
            _print(message, as_json=as_json)


def _is_id(client: Client, text: str) -> bool:
    """iovox's ids may be digits, too."""
    try:
        client.status(text)
    except NotFound:
        return False
    return True


def _print_latest(client: Client, number: str, *, as_json: bool) -> None:
    found = list(islice(client.all(destination=number), LATEST))
    if as_json:
        show((message.raw for message in found), as_json=True)
        return
    if not found:
        typer.echo(f"No message has the id {number}, and none went to that number.")
        raise typer.Exit(1)
    remark(f"The last messages to {number}, newest first; `dlr status ID` tells all of one:")
    print_table(COLUMNS, [_row(message) for message in found], fixed=3)


def _row(message: Message) -> tuple[object, ...]:
    created = message.created_at and utc(message.created_at)
    why = message.raw.get("reason")
    return (created, coloured(message.status), message.id, message.origin, message.reference, why)


def _facts(message: Message) -> Iterator[tuple[str, object]]:
    """What is set, by the names that the API has for it."""
    for name in FACTS:
        if value := message.raw.get(name):
            yield name, ", ".join(value) if isinstance(value, list) else value
    if message.failover is not None:
        after = " or ".join(message.failover.after)
        when = "now" if message.failover.called else f"after {after}"
        yield "failover", f"iovox calls it {when}"


def _print(message: Message, *, as_json: bool) -> None:
    if as_json:
        print_json(message.raw)
        return
    out = console()
    out.print(headline(message))
    out.print(harmless(in_words(message, datetime.now(UTC))), markup=False, highlight=False)
    for name, value in _facts(message):
        out.print(harmless(f"  {name}: {value}"), markup=False, highlight=False)
    out.print(history_table(message, width=out.width))
