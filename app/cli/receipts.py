"""`dlr receipts`: the authenticated calls to /dlr that could not be understood."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from app.cli.actor import os_actor
from app.cli.configuration import load
from app.cli.database import with_database
from app.cli.output import AsJson, show
from app.receive.rejected import replay
from app.receive.rejected import show as describe
from app.record.audit import Auditor
from app.store.audit import AuditStore
from app.store.engine import Database
from app.store.receipts import KeptRejection, ReceiptStore

COLUMNS = ("id", "received_at", "reason", "body")

receipts = typer.Typer(no_args_is_help=True, help="Calls to /dlr that could not be understood.")


def add_to(cli: typer.Typer) -> None:
    """Register the commands."""
    cli.add_typer(receipts, name="receipts")


@receipts.command("rejected", epilog="Example: dlr receipts rejected --json | jq .")
def rejected_receipts(
    limit: Annotated[int, typer.Option(min=1, help="How many to show, oldest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List authenticated calls that could not be understood; their bytes are kept word for word."""
    found = with_database(load(), partial(_rejected, limit=limit))
    rows = [{name: describe(kept)[name] for name in COLUMNS} for kept in found]
    show(rows, as_json=as_json)


@receipts.command("replay", epilog="Example: dlr receipts replay")
def replay_receipts(
    limit: Annotated[int, typer.Option(min=1, help="How many to try, oldest first.")] = 10_000,
) -> None:
    """Put the rejected calls through again, after a fix. What is understood now is stored."""
    actor = os_actor()
    done = with_database(load(), lambda db: replay(ReceiptStore(db), limit=limit, actor=actor))
    typer.echo(f"{done.stored} of {done.tried} rejected calls were understood and are stored now.")


async def _rejected(database: Database, limit: int) -> list[KeptRejection]:
    await Auditor(AuditStore(database)).saw_rejected(os_actor())
    return await ReceiptStore(database).rejected(limit=limit)
