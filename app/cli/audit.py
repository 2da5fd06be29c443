"""`dlr audit`: who did what. Works on the database; whoever has its URL is trusted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import typer

from app.cli.configuration import load
from app.cli.database import with_database
from app.cli.history import utc
from app.cli.output import AsJson, print_json, show
from app.cli.times import range_option
from app.model.audit import Action, AuditFilter, Entry
from app.model.london import end_of, midnight
from app.record.audit_models import audited
from app.store.audit import AuditStore
from app.store.engine import Database

PAGE = 500

Since = Annotated[date | None, range_option("--from", help="Then or later; a London day.")]
Until = Annotated[date | None, range_option("--to", help="Before; a day is included.")]


def add_to(cli: typer.Typer) -> None:
    """Register the command."""
    cli.command(epilog="Example: dlr audit --action message.reveal --from 2026-11-22")(audit)


def audit(
    who: Annotated[
        str | None, typer.Option(help="key:ID, os:user@host, person:NAME, nobody, or an app.")
    ] = None,
    action: Annotated[Action | None, typer.Option(help="What was done.")] = None,
    what: Annotated[
        str | None, typer.Option(help="The id of what it was done to: a message, a key, ...")
    ] = None,
    from_: Since = None,
    to: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show, newest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List who did what, newest first: looks of people, and whatever changed something."""
    wanted = AuditFilter(who, action, what, _time(from_, midnight), _time(to, end_of))
    found = with_database(load(), lambda database: _read(database, wanted, limit))
    if as_json:
        for entry in found:
            print_json(audited(entry).model_dump(mode="json"))
        return
    show([_row(entry) for entry in found], as_json=False)


def _time(bound: date | None, of_date: Callable[[date], datetime]) -> datetime | None:
    return bound if bound is None or isinstance(bound, datetime) else of_date(bound)


async def _read(database: Database, wanted: AuditFilter, limit: int) -> list[Entry]:
    store = AuditStore(database)
    found: list[Entry] = []
    before: UUID | None = None
    while len(found) < limit:
        size = min(PAGE, limit - len(found))
        page = await store.page(wanted, before=before, limit=size)
        found += page
        if len(page) < size:
            break
        before = page[-1].id
    return found


def _row(entry: Entry) -> dict[str, object]:
    details = {"destination": entry.destination, "reference": entry.reference, **entry.details}
    return {
        "at (UTC)": utc(entry.at),
        "who": entry.actor.who,
        "app": entry.actor.app,
        "from": entry.actor.address,
        "action": entry.action,
        "what": entry.what,
        "times": entry.times,
        "details": ", ".join(f"{name}: {_text(value)}" for name, value in details.items() if value),
    }


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
