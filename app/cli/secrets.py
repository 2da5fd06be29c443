"""`dlr secrets`: webhooks' secrets in the database, encrypted by DLR_ENCRYPTION_KEY.

Works on the database; whoever has its URL is trusted.
"""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.configuration import load
from app.cli.database import with_database
from app.cli.output import complain
from app.errors import ConfigurationError
from app.parts.sealing import Sealer, new_key
from app.settings import report
from app.store.webhooks import WebhookStore

secrets = typer.Typer(no_args_is_help=True, help="Encrypt the secrets of webhooks at rest.")


def add_to(cli: typer.Typer) -> None:
    """Register the commands."""
    cli.add_typer(secrets, name="secrets")


@secrets.command("key", epilog="Example: dlr secrets key >/run/secrets/dlr-encryption-key")
def print_key() -> None:
    """Print a new key for DLR_ENCRYPTION_KEY. It is stored nowhere: keep it beside the backups."""
    typer.echo(new_key())


@secrets.command("encrypt", epilog="Example: dlr secrets encrypt, after the key has changed")
def encrypt(
    plain: Annotated[
        bool, typer.Option("--plain", help="Decrypt them instead, before going without a key.")
    ] = False,
) -> None:
    """Encrypt every webhook's secret by the newest key. Safe to repeat, and while all runs."""
    settings = load()
    keys = settings.encryption_key.get_secret_value() if settings.encryption_key else ""
    try:
        sealer = Sealer(keys)
    except ValueError as error:
        raise ConfigurationError(report({"encryption_key": str(error)})) from None
    if not sealer.is_on:
        raise ConfigurationError(report({"encryption_key": "is not set"}))
    changed, unreadable = with_database(
        settings, lambda database: WebhookStore(database, sealer).reseal(plain=plain)
    )
    typer.echo(f"{'Decrypted' if plain else 'Encrypted'} the secrets of {changed} webhooks.")
    if unreadable:
        complain(
            f"{unreadable} webhooks have a secret that none of the keys decrypts: add the key that "
            "it was encrypted by, or give these webhooks new secrets (`dlr webhooks rotate ID`)."
        )
        raise typer.Exit(1)
