"""`dlr send`, `dlr cancel` and `dlr resend`: an app's requests, made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from app.cli.ids import id_argument
from app.cli.output import AsJson, coloured, print_json, print_table
from app.cli.service import connect
from app.cli.times import time_option
from iovox_receipts import Rejected, Sent

MessageId = Annotated[str, id_argument(help="The id that the send was answered with.")]


def add_to(cli: typer.Typer) -> None:
    """Register the commands."""
    cli.command(
        epilog="Example: dlr send --origin 447923221231 --destination 447723443321 "
        "--message 'Hello there, my name is John' --expiry 3 --reference order-42"
    )(send)
    cli.command(epilog="Example: dlr cancel 0193e0c4-7a1b-7cc3-98c4-dc0c0c07398f")(cancel)
    cli.command(epilog="Example: dlr resend 0193e0c4-7a1b-7cc3-98c4-dc0c0c07398f")(resend)


def send(
    origin: Annotated[
        str, typer.Option(help="The sender: a phone number, or up to 11 letters and digits.")
    ],
    destination: Annotated[
        str, typer.Option(help="The receiver's phone number, in international form.")
    ],
    message: Annotated[str, typer.Option(help="The text, at most 160 characters.")],
    expiry: Annotated[
        int | None, typer.Option(help="Minutes after which iovox gives up.", min=1)
    ] = None,
    c2c_failover_link_id: Annotated[
        str | None, typer.Option(help="The call flow that reads the text out if the SMS fails.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Your own name for the message.")] = None,
    send_at: Annotated[
        datetime | None, time_option(help="When to send it, such as 2026-11-22T09:00:00Z.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Given twice, the text is sent once. Made up if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send one text, and say what iovox made of it."""
    with connect() as client, _refusal_shown(as_json=as_json):
        sent = client.send(
            origin,
            destination,
            message,
            expiry=expiry,
            c2c_failover_link_id=c2c_failover_link_id,
            reference=reference,
            send_at=send_at,
            idempotency_key=idempotency_key,
        )
    _print(sent, as_json=as_json)


def cancel(message_id: MessageId, as_json: AsJson = False) -> None:
    """Take back a message that is QUEUED. It fails where the message is beyond that."""
    with connect() as client:
        client.cancel(message_id)
    if as_json:
        print_json({"id": message_id, "status": "CANCELLED"})
    else:
        typer.echo(f"Message {message_id} is cancelled.")


def resend(message_id: MessageId, as_json: AsJson = False) -> None:
    """Deliberately send a message's text again: a new message, and a second text."""
    with connect() as client, _refusal_shown(as_json=as_json):
        sent = client.resend(message_id)
    _print(sent, as_json=as_json)


@contextmanager
def _refusal_shown(*, as_json: bool) -> Iterator[None]:
    """A text that iovox refuses has a record all the same, which a machine wants to know of."""
    try:
        yield
    except Rejected as refused:
        if as_json:
            errors = [asdict(fault) for fault in refused.errors]
            print_json({"id": refused.message_id, "status": "REJECTED", "errors": errors})
        raise


def _print(sent: Sent, *, as_json: bool) -> None:
    if as_json:
        print_json(sent.raw)
        return
    rows = [
        ("status", coloured(sent.status)),
        ("id", sent.id),
        ("sms_activity_id", sent.sms_activity_id or "not known yet"),
        *(("because", reason) for reason in sent.reasons),
        *([("warning", sent.warning)] if sent.warning else []),
    ]
    print_table(("", ""), rows)
    typer.echo(f"What becomes of it: dlr status {sent.id} --watch", err=True)
