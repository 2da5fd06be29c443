"""`dlr webhooks`: who is told of status changes, by the API of a running service."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Annotated

import typer

from app.cli.ids import id_argument
from app.cli.output import AsJson, coloured, print_table, remark, show
from app.cli.service import connect
from app.cli.times import time_option
from iovox_receipts import Delivery, Webhook

webhooks = typer.Typer(
    no_args_is_help=True, help="Have status changes posted to a URL of yours, signed."
)
WebhookId = Annotated[str, id_argument(help="The id that `webhooks list` shows.")]
Statuses = Annotated[
    list[str] | None,
    typer.Option("--status", help="Which statuses to tell of; give it several times."),
]


def add_to(cli: typer.Typer) -> None:
    """Register the commands."""
    cli.add_typer(webhooks, name="webhooks")


@webhooks.command(
    epilog="Example: dlr webhooks create https://billing.example.com/sms-events --status FAILED"
)
def create(
    url: Annotated[str, typer.Argument(help="Where to post; https.")],
    status: Statuses = None,
    app: Annotated[
        str | None, typer.Option(help="For admins: of which app; of every app if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Subscribe; by default to final statuses. The last line is the secret, shown only once."""
    with connect() as client:
        _show_secret(client.webhooks.create(url, statuses=status, app=app), as_json=as_json)


@webhooks.command("list", epilog="Example: dlr webhooks list --json")
def list_webhooks(as_json: AsJson = False) -> None:
    """List your webhooks, and whether they work."""
    with connect() as client:
        found = client.webhooks.list()
    if as_json:
        show([webhook.raw for webhook in found], as_json=True)
        return
    show([_row(webhook) for webhook in found], as_json=False)


@webhooks.command(epilog="Example: dlr webhooks change ID --url https://new.example.com/events")
def change(
    webhook_id: WebhookId,
    url: Annotated[str | None, typer.Option(help="Where to post from now on.")] = None,
    status: Statuses = None,
    as_json: AsJson = False,
) -> None:
    """Post somewhere else, or tell of other statuses."""
    with connect() as client:
        changed = client.webhooks.change(webhook_id, url=url, statuses=status)
    _show(changed, as_json=as_json)


@webhooks.command(epilog="Example: dlr webhooks pause ID")
def pause(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Send nothing for a while. Nothing is lost."""
    with connect() as client:
        _show(client.webhooks.change(webhook_id, paused=True), as_json=as_json)


@webhooks.command(epilog="Example: dlr webhooks resume ID")
def resume(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Send again, beginning with what has waited."""
    with connect() as client:
        _show(client.webhooks.change(webhook_id, paused=False), as_json=as_json)


@webhooks.command(epilog="Example: dlr webhooks delete ID")
def delete(webhook_id: WebhookId) -> None:
    """Delete it and its deliveries."""
    with connect() as client:
        client.webhooks.delete(webhook_id)
    typer.echo(f"Webhook {webhook_id} is deleted.")


@webhooks.command(epilog="Example: dlr webhooks rotate ID")
def rotate(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Make a new secret, printed once on the last line. For a day both are signed with."""
    with connect() as client:
        _show_secret(client.webhooks.rotate(webhook_id), as_json=as_json)


@webhooks.command("test", epilog="Example: dlr webhooks test ID, then dlr webhooks deliveries ID")
def try_out(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Send a test event."""
    with connect() as client:
        _show_deliveries([client.webhooks.test(webhook_id)], as_json=as_json)


@webhooks.command(epilog="Example: dlr webhooks deliveries ID --state FAILED --limit 20")
def deliveries(
    webhook_id: WebhookId,
    state: Annotated[
        str | None, typer.Option(help="PENDING, DELIVERED, FAILED or CANCELLED.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what was sent, and what came of it."""
    with connect() as client:
        found = client.webhooks.deliveries(webhook_id, state=state)
        _show_deliveries(list(islice(found, limit)), as_json=as_json)


@webhooks.command(epilog="Example: dlr webhooks replay ID --from 2026-11-22T09:00:00Z")
def replay(
    webhook_id: WebhookId,
    delivery: Annotated[str | None, typer.Option(help="This one alone.")] = None,
    from_: Annotated[datetime | None, time_option("--from", help="Recorded then or later.")] = None,
    to: Annotated[datetime | None, time_option(help="Recorded before.")] = None,
    after: Annotated[str | None, typer.Option(help="After this event's id.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to this event's id.")] = None,
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
) -> None:
    """Send one delivery again, or a range of them in order."""
    is_range = any((from_, to, after, until, state))
    if bool(delivery) == is_range:
        raise typer.BadParameter("name one --delivery, or a range by the other options")
    with connect() as client:
        if delivery:
            client.webhooks.replay(webhook_id, delivery)
            count = 1
        else:
            count = client.webhooks.replay_many(
                webhook_id, from_=from_, to=to, after=after, until=until, state=state
            )
    typer.echo(f"{count} will be sent again.")


def _show_secret(webhook: Webhook, *, as_json: bool) -> None:
    if as_json:
        show([{**webhook.raw, "secret": webhook.secret}], as_json=True)
        return
    remark(f"Webhook {webhook.id} to {webhook.url}. Its secret is shown only this once:")
    typer.echo(webhook.secret)


def _show(webhook: Webhook, *, as_json: bool) -> None:
    show([webhook.raw if as_json else _row(webhook)], as_json=as_json)


def _row(webhook: Webhook) -> dict[str, object]:
    return {
        "id": webhook.id,
        "state": webhook.state,
        "url": webhook.url,
        "statuses": " ".join(webhook.statuses),
        "why": "; ".join(filter(None, (webhook.reason, _of_revoked_key(webhook)))) or None,
    }


def _of_revoked_key(webhook: Webhook) -> str | None:
    """What to know of a webhook that outlived its key."""
    if not webhook.raw.get("key_revoked"):
        return None
    if key := webhook.raw.get("key_id"):
        return f"its key {key} is revoked"
    return "every key of its app is revoked"


def _show_deliveries(found: list[Delivery], *, as_json: bool) -> None:
    if as_json:
        show([one.raw for one in found], as_json=True)
        return
    columns = ("id", "type", "state", "attempts", "answer", "created", "error")
    print_table(columns, [_delivery_row(one) for one in found], fixed=3)


def _delivery_row(one: Delivery) -> tuple[object, ...]:
    created = one.created_at and f"{one.created_at:%Y-%m-%d %H:%M:%S}"
    state = coloured(one.state)
    return (one.id, one.type, state, one.attempts, one.status_code, created, one.error)
