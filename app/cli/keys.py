"""`dlr keys`: who may use the API. Works on the database; whoever has its URL is trusted."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated

import typer

from app.cli.actor import os_actor
from app.cli.configuration import load
from app.cli.database import with_database
from app.cli.output import AsJson, show
from app.cli.times import lifetime_option
from app.errors import NotFound
from app.model.api_key import Scope, digest, new_secret
from app.model.audit import Action
from app.store.engine import Database
from app.store.keys import KeyStore

keys = typer.Typer(no_args_is_help=True, help="Create, list and revoke the API keys of your apps.")


def add_to(cli: typer.Typer) -> None:
    """Register the commands."""
    cli.add_typer(keys, name="keys")


@keys.command("create", epilog="Example: dlr keys create billing --scope send --scope read")
def create_key(
    name: Annotated[str, typer.Argument(help="The app that the key is for.")],
    scope: Annotated[
        list[Scope],
        typer.Option(
            help="What it may do; give it several times. send: send, cancel, resend. read: look "
            "up, events, see webhooks. webhooks: create and change webhooks. support: read every "
            "app's, texts only on request, change nothing. admin: everything."
        ),
    ],
    expires: Annotated[
        datetime | None,
        lifetime_option("--expires", help="When it ends: a time, a date, or 90d, 12h from now."),
    ] = None,
) -> None:
    """Create a key and print it, once, on the last line. Two keys of one app see the same."""
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise typer.BadParameter("an app's name has 1 to 100 printable characters")
    secret, key_id = new_secret(), secrets.token_hex(4)
    scopes = sorted(str(one) for one in scope)
    about = {"app": name, "scopes": scopes}

    async def add(database: Database) -> None:
        await KeyStore(database).add(
            key_id=key_id,
            app=name,
            digest=digest(secret),
            scopes=frozenset(scopes),
            expires_at=expires,
            entry=os_actor().did(Action.CREATE_KEY, key_id, details=about),
        )

    with_database(load(), add, makes_file=True)
    typer.echo(f"Key {key_id} for {name}. It is shown only this once:", err=True)
    typer.echo(secret)


@keys.command("list", epilog="Example: dlr keys list --json")
def list_keys(as_json: AsJson = False) -> None:
    """List the keys. Secrets are not stored, so none are shown; `last_used_at` is exact to a minute
    or two.
    """
    found = with_database(load(), lambda database: KeyStore(database).all())
    rows = [
        {
            "id": key.id,
            "app": key.app,
            "scopes": " ".join(sorted(key.scopes)),
            "created_at": _shown(key.created_at),
            "last_used_at": _shown(key.last_used_at),
            "expires_at": _shown(key.expires_at),
            "revoked_at": _shown(key.revoked_at),
        }
        for key in found
    ]
    show(rows, as_json=as_json)


def _shown(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None


@keys.command("revoke", epilog="Example: dlr keys revoke 3f2a9c11")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The id that `keys list` shows.")],
) -> None:
    """End a key at once."""
    entry = os_actor().did(Action.REVOKE_KEY, key_id)
    if not with_database(load(), lambda db: KeyStore(db).revoke(key_id, entry=entry)):
        raise NotFound(f"There is no valid key {key_id}; `dlr keys list` shows them.")
    typer.echo(f"Key {key_id} is revoked.")
