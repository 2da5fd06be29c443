"""The `dlr` command. Whoever runs it is trusted: it has the settings, or an API key.

Each command is a module of its own and is loaded only when it is asked for: `dlr status` should
not wait for the server's libraries, nor `dlr --help` for those of all commands. Exit codes: 0 done,
1 failed, 2 wrong input or configuration, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import typer

from app.cli.output import complain
from app.errors import ConfigurationError, SchemaBehind, ServiceError, StoreUnsuitable
from app.server import hangups

COMMANDS = {
    "serve": ("serve", "Run the service: the API for your apps, and /dlr for iovox."),
    "worker": ("serve", "Send what is queued and deliver webhooks, without taking requests."),
    "migrate": ("migrate", "Bring the database's schema up to date."),
    "simulator": ("simulator", "Run a stand-in iovox."),
    "demo": ("demo.command", "Show the whole service against a simulated iovox."),
    "doctor": ("doctor", "Look at settings, database, spool, processes, DLR_PUBLIC_URL and iovox."),
    "keys": ("keys", "Create, list and revoke the API keys of your apps."),
    "secrets": ("secrets", "Encrypt the secrets of webhooks at rest."),
    "receipts": ("receipts", "Calls to /dlr that could not be understood."),
    "queue": ("queue", "What waits to be sent: show, hold, settle and release it."),
    "audit": ("audit", "List who did what, newest first."),
    "purge": ("purge", "Delete messages with all that hangs on them."),
    "erase": ("erase", "Erase a number."),
    "evidence": ("evidence", "What anybody can check without trusting us."),
    "send": ("send", "Send one text, and say what iovox made of it."),
    "cancel": ("send", "Take back a message that is QUEUED."),
    "resend": ("send", "Deliberately send a message's text again."),
    "status": ("status", "Tell what became of a message, with its whole history."),
    "list": ("listing", "List messages, newest first."),
    "stats": ("listing", "Count messages: how many, what became of them, how long it took."),
    "tail": ("tail", "Show status changes as they are committed, until Ctrl-C."),
    "alarms": ("alarms", "List the alarms that are up."),
    "webhooks": ("webhooks", "Have status changes posted to a URL of yours, signed."),
}
"""Each with its module in `app.cli`, and its line in the list of all, which loads none of them."""

READ_SECRETS_AGAIN = ("serve", "worker")
"""The commands that read their secrets again on SIGHUP. The signal is held back until they handle
it: by default it would end them.
"""

WRONG_INPUT = (ConfigurationError, SchemaBehind, StoreUnsuitable)


def main(words: Sequence[str] | None = None) -> None:
    """Run the command; an error that has a name is one message, not a traceback.

    Ends in SystemExit. ``words`` are those of the command line if left out.
    """
    words = sys.argv[1:] if words is None else words
    os.umask(0o077)  # what it writes holds texts and numbers: a database, a spool, a journal
    if words and words[0] in READ_SECRETS_AGAIN:
        hangups.block()
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
    except KeyboardInterrupt:
        sys.exit(130)


def command(words: Sequence[str]) -> typer.Typer:
    """The command line: the command that these words name is loaded, the others are only listed."""
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
    wanted = next((word for word in words if not word.startswith("-")), "")
    loaded, _ = COMMANDS.get(wanted, (None, ""))
    for name, (module, summary) in COMMANDS.items():
        if module != loaded:
            cli.command(name, help=summary)(_not_loaded)
    if loaded is not None:
        import_module(f"app.cli.{loaded}").add_to(cli)
    return cli


def _not_loaded() -> None:
    """Stands in the list for a command that the words do not name, and so never runs."""
    raise NotImplementedError


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
    """The options before a command. With a callback Typer keeps a lone command a subcommand."""
