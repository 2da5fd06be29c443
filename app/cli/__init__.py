"""The `dlr` command. Whoever runs it is trusted: it has the settings, or an API key.

Each command is a module of its own and is loaded only when it is asked for: `dlr status` should
not wait for the server's libraries. Exit codes: 0 done, 1 failed, 2 wrong input or configuration,
130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import Annotated

import typer

from app.cli.output import complain
from app.cli.service import in_words, is_wrong_address
from app.errors import ConfigurationError, SchemaBehind, ServiceError, StoreUnsuitable
from app.server import hangups
from app.settings import SettingsError
from iovox_receipts import ClientError

MODULES = {
    "serve": "serve",
    "worker": "serve",
    "migrate": "migrate",
    "simulator": "simulator",
    "demo": "demo.command",
    "keys": "keys",
    "secrets": "secrets",
    "receipts": "receipts",
    "queue": "queue",
    "audit": "audit",
    "purge": "purge",
    "erase": "erase",
    "send": "send",
    "cancel": "send",
    "resend": "send",
    "status": "status",
    "list": "listing",
    "stats": "listing",
    "tail": "tail",
    "alarms": "alarms",
    "doctor": "doctor",
    "webhooks": "webhooks",
    "evidence": "evidence",
}

READ_SECRETS_AGAIN = ("serve", "worker")
"""The commands that SIGHUP tells to; it must not end them before they listen for it either."""

WRONG_INPUT = (ConfigurationError, SchemaBehind, StoreUnsuitable)


def main(words: Sequence[str] | None = None) -> None:
    """Run the command; an error that has a name is one message, not a traceback.

    Ends in SystemExit. ``words`` are those of the command line if left out.
    """
    words = sys.argv[1:] if words is None else words
    os.umask(0o077)  # what it writes holds texts and numbers: a database, a spool, a journal
    if words and words[0] in READ_SECRETS_AGAIN:
        hangups.hold()
    try:
        " ".join(words).encode()
    except UnicodeEncodeError:
        complain("An argument has bytes that are not UTF-8.")
        sys.exit(2)
    try:
        command(words)(list(words), prog_name="dlr")
    except ServiceError as error:
        complain(error.detail)
        sys.exit(2 if isinstance(error, WRONG_INPUT) else 1)
    except SettingsError as error:
        complain(str(error))
        sys.exit(2)
    except ClientError as error:
        complain(in_words(error))
        sys.exit(2 if error.is_callers_fault or is_wrong_address(error) else 1)
    except KeyboardInterrupt:
        sys.exit(130)


def command(words: Sequence[str]) -> typer.Typer:
    """The command line that these words need: one command, or all where they name none."""
    cli = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        add_completion=False,
        help="Sends texts through iovox and knows, provably, what became of each one.\n\n"
        "serve, worker, migrate, doctor, keys, secrets, receipts, queue, audit, purge and erase "
        "take their settings from DLR_ variables; the README lists them. The commands that ask a "
        "running service (send, status, list, tail, ...) take its address from DLR_API_URL and a "
        "key from DLR_API_KEY.",
    )
    cli.callback()(_options)
    for module in _modules(words):
        module.add_to(cli)
    return cli


def _modules(words: Sequence[str]) -> list[ModuleType]:
    wanted = MODULES.get(words[0]) if words else None
    names = dict.fromkeys([wanted] if wanted else MODULES.values())
    return [import_module(f"app.cli.{name}") for name in names]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"iovox-receipts {version('iovox-receipts')}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """Also what makes Typer take a lone command for one of several."""
