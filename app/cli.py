"""The `dlr` command. Whoever runs it is trusted: it has the settings, or an API key."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer
import uvicorn
from rich.console import Console
from rich.table import Table

from app import logs
from app.auth import Scope, digest, new_secret
from app.errors import ServiceError, StoreUnavailable
from app.model.receipt import Receipt, interpret
from app.receive.spool import Spool
from app.runtime import callback_headers, open_database
from app.settings import NEEDED_TO_SERVE, Settings, load, variable
from app.simulator.server import serve as serve_simulator
from app.store.engine import Database
from app.store.keys import KeyStore
from app.store.receipts import ReceiptStore
from app.store.schema import migrate as migrate_schema
from app.store.schema import require_current

KEEP_ALIVE = 75
"""Seconds. iovox documents no retry, and a receipt sent down a connection that we are just closing
is lost; so idle connections are left to the other side to close."""

cli = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Sends texts through iovox and knows, provably, what became of each one.\n\n"
    "Settings come from DLR_ environment variables; the README lists them all.",
)
keys = typer.Typer(no_args_is_help=True, help="Create, list and revoke the API keys of your apps.")
receipts = typer.Typer(no_args_is_help=True, help="Calls to /dlr that could not be understood.")
cli.add_typer(keys, name="keys")
cli.add_typer(receipts, name="receipts")

Answer = TypeVar("Answer")
AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines instead of a table.")]


@cli.command(
    epilog="Example: DLR_PUBLIC_URL=https://sms.example.com ... dlr serve --port 8080 --workers 2"
)
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="Server processes.")] = 1,
    queue: Annotated[
        bool,
        typer.Option("--workers-on/--no-workers", help="Send what is queued in this process, too."),
    ] = True,
) -> None:
    """Run the service: the API for your apps, and /dlr for iovox."""
    settings = load(needs=NEEDED_TO_SERVE)
    logs.configure(level=settings.log_level, as_json=settings.log_format == "json")
    callback_headers(settings)
    spool = Spool(settings.spool_dir)
    spool.open()
    spool.close()
    asyncio.run(_check_schema(settings))
    os.environ[variable("queue_workers")] = str(queue and settings.queue_workers)
    uvicorn.run(
        "app.main:from_environment",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(settings.shutdown_timeout),
    )


@cli.command(epilog="Example: DLR_DATABASE_URL=postgresql://dlr@db/dlr dlr migrate")
def migrate() -> None:
    """Bring the database's schema up to date. Safe to run twice, or from two places."""
    _with_database(load(), migrate_schema)
    typer.echo("The schema is up to date.")


@cli.command(epilog="Example: dlr simulator --port 8044, and DLR_IOVOX_URL=http://127.0.0.1:8044")
def simulator(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8044,
) -> None:
    """Run a stand-in iovox. The last two digits of the destination choose what happens."""
    logs.configure(level="info", as_json=False)
    serve_simulator(host, port)


@keys.command("create", epilog="Example: dlr keys create billing --scope send --scope read")
def create_key(
    name: Annotated[str, typer.Argument(help="The app that the key is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; give it several times.")],
) -> None:
    """Create a key and print it, once, on the last line. Two keys of one app see the same."""
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise typer.BadParameter("an app's name has 1 to 100 printable characters")
    secret, key_id = new_secret(), secrets.token_hex(4)

    async def add(database: Database) -> None:
        await KeyStore(database).add(
            key_id=key_id,
            app=name,
            digest=digest(secret),
            scopes=frozenset(str(one) for one in scope),
        )

    _with_database(load(), add)
    typer.echo(f"Key {key_id} for {name}. It is shown only this once:", err=True)
    typer.echo(secret)


@keys.command("list", epilog="Example: dlr keys list --json")
def list_keys(as_json: AsJson = False) -> None:
    """List the keys. Secrets are not stored, so none are shown."""
    found = _with_database(load(), lambda database: KeyStore(database).all())
    rows = [
        {
            "id": key.id,
            "app": key.app,
            "scopes": " ".join(sorted(key.scopes)),
            "created_at": key.created_at.isoformat(timespec="seconds"),
            "revoked_at": key.revoked_at.isoformat(timespec="seconds") if key.revoked_at else None,
        }
        for key in found
    ]
    show(rows, as_json=as_json)


@keys.command("revoke", epilog="Example: dlr keys revoke 3f2a9c11")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The id that `keys list` shows.")],
) -> None:
    """End a key at once."""
    if not _with_database(load(), lambda database: KeyStore(database).revoke(key_id)):
        raise ServiceError(f"There is no valid key {key_id}; `dlr keys list` shows them.")
    typer.echo(f"Key {key_id} is revoked.")


@receipts.command("rejected", epilog="Example: dlr receipts rejected --json | jq .")
def rejected_receipts(
    limit: Annotated[int, typer.Option(min=1, help="How many to show, oldest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List authenticated calls that could not be understood; their bytes are kept word for word."""
    found = _with_database(load(), lambda db: ReceiptStore(db).rejected(limit=limit))
    rows = [
        {
            "id": str(kept.arrival.id),
            "received_at": kept.arrival.received_at.isoformat(),
            "reason": kept.reason,
            "body": kept.arrival.body.decode("utf-8", "backslashreplace"),
        }
        for kept in found
    ]
    show(rows, as_json=as_json)


@receipts.command("replay", epilog="Example: dlr receipts replay")
def replay_receipts(
    limit: Annotated[int, typer.Option(min=1, help="How many to try, oldest first.")] = 10_000,
) -> None:
    """Put the rejected calls through again, after a fix. What is understood now is stored."""

    async def replay(database: Database) -> tuple[int, int]:
        store = ReceiptStore(database)
        found = await store.rejected(limit=limit)
        understood = 0
        for kept in found:
            call = interpret(kept.arrival)
            if isinstance(call, Receipt):
                await store.replayed(call, datetime.now(UTC))
                understood += 1
        return understood, len(found)

    understood, tried = _with_database(load(), replay)
    typer.echo(f"{understood} of {tried} rejected calls were understood and are stored now.")


def show(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """A table for people, or one JSON object a line for machines."""
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    if not rows:
        typer.echo("Nothing to show.")
        return
    table = Table(*rows[0], box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(table)


def _with_database(
    settings: Settings, work: Callable[[Database], Coroutine[Any, Any, Answer]]
) -> Answer:
    """Run something against the database; SQLite is migrated first, having no one else to do it."""

    async def run() -> Answer:
        database = open_database(settings)
        try:
            if database.is_sqlite:
                await migrate_schema(database)
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


async def _check_schema(settings: Settings) -> None:
    """Stop a start on a schema that is behind; one without a database goes on, into the spool."""
    database = open_database(settings)
    try:
        if database.is_sqlite:
            await migrate_schema(database)
        await require_current(database)
    except StoreUnavailable:
        pass
    finally:
        await database.close()


def main() -> None:
    """Run the command; an error that has a name is one message, not a traceback."""
    try:
        cli()
    except ServiceError as error:
        typer.secho(error.detail, err=True, fg=typer.colors.RED)
        sys.exit(2)


if __name__ == "__main__":
    main()
