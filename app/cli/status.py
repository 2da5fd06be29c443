"""`dlr status`: what became of one message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from app.cli.history import headline, history_table
from app.cli.output import AsJson, console, harmless, print_json
from app.cli.service import connect
from iovox_receipts import Message

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
    message_id: Annotated[str, typer.Argument(help="Our id, or iovox's sms_activity_id.")],
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until the status is final.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds after which --watch ends in any case.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what became of a message, with its whole history."""
    with connect() as client:
        if not watch:
            _print(client.status(message_id), as_json=as_json)
            return
        for message in client.watch(message_id, timeout=timeout):
            _print(message, as_json=as_json)


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
    for name, value in _facts(message):
        out.print(harmless(f"  {name}: {value}"), markup=False, highlight=False)
    out.print(history_table(message, width=out.width))
