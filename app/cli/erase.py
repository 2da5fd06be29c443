"""`dlr erase`: erases a number, or shows that it was. Works on the database; whoever has its URL is
trusted.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from app.cli.actor import os_actor
from app.cli.configuration import erasure_key, load
from app.cli.database import with_database
from app.cli.history import utc
from app.cli.output import AsJson, print_json, remark
from app.errors import ConfigurationError, NotFound
from app.model.audit import Action
from app.model.erasure import Erasure
from app.model.message import Message
from app.model.numbers import read_number
from app.record.erasure import Eraser
from app.record.erasure_models import shown_erasure
from app.settings import Settings
from app.store.engine import Database
from app.store.erasing.disks import DiskStore
from app.store.erasing.store import ErasureStore
from app.store.messages import MessageStore


def add_to(cli: typer.Typer) -> None:
    """Register the command."""
    cli.command(epilog="Example: dlr erase --destination +447700900123")(erase)


def erase(
    destination: Annotated[
        str | None, typer.Option(help="Erase what was sent to this number, and receipts of it.")
    ] = None,
    was: Annotated[
        str | None, typer.Option(help="Show when this number was erased; needs DLR_ERASURE_KEY.")
    ] = None,
    strike: Annotated[
        str | None,
        typer.Option(help="A disk that is gone for good: erasures no longer wait for it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Erase a number: as a destination, with its texts, references and receipts' bodies. Counts,
    statuses and times stay. It is complete once every process has confirmed for its disk.
    """
    if sum(each is not None for each in (destination, was, strike)) != 1:
        raise typer.BadParameter("name one of --destination, --was and --strike")
    settings = load()
    if strike is not None:
        _strike(settings, strike)
        return
    number = _number(settings, destination or was or "")
    if destination is not None:
        erasure = with_database(settings, lambda database: _erase(settings, database, number))
        _show([erasure], as_json=as_json)
        return
    if erasure_key(settings) is None:
        raise ConfigurationError(
            "DLR_ERASURE_KEY is not set: erasures are found by a digest of the number under it."
        )
    found = with_database(settings, lambda database: _eraser(settings, database).of(number))
    if not found:
        raise NotFound("No erasure of this number is recorded under this key.")
    _show(found, as_json=as_json)


def _strike(settings: Settings, disk: str) -> None:
    try:
        disk_id = UUID(disk)
    except ValueError:
        raise typer.BadParameter("must be a disk's id, as the erasure names it") from None

    async def strike_and_go_on(database: Database) -> bool:
        entry = os_actor().did(Action.STRIKE_DISK, disk_id)
        is_struck = await DiskStore(database).strike_disk(disk_id, entry=entry)
        await _eraser(settings, database).run_once()
        return is_struck

    if not with_database(settings, strike_and_go_on):
        raise NotFound(f"There is no disk {disk_id}.")
    typer.echo(f"Disk {disk_id} is struck: what it may hold is yours to destroy.")


def _number(settings: Settings, written: str) -> str:
    try:
        return read_number(written, settings.default_region)
    except ValueError as error:
        raise typer.BadParameter(f"is no phone number that can be read: {error}") from None


async def _erase(settings: Settings, database: Database, number: str) -> Erasure:
    eraser = _eraser(settings, database)
    erasure = await eraser.request(number, os_actor())
    await eraser.run_once()
    return await eraser.find(erasure.id)


def _eraser(settings: Settings, database: Database) -> Eraser:
    messages = MessageStore(database)

    async def cancel(message: Message) -> bool:
        return await messages.cancel(message, database.clock.now()) is not None

    return Eraser(
        ErasureStore(database),
        cancel=cancel,
        key=erasure_key(settings),
        announce=_nothing,  # other processes poll
        wake=_nothing,
    )


def _nothing() -> None:
    """Nobody in this process waits to be told."""


def _show(found: list[Erasure], *, as_json: bool) -> None:
    for erasure in found:
        if as_json:
            print_json(shown_erasure(erasure).model_dump(mode="json"))
            continue
        counts = ", ".join(
            f"{count} {name.replace('_', ' ')}" for name, count in erasure.counts.items() if count
        )
        typer.echo(
            f"Erasure {erasure.id}, asked for at {utc(erasure.requested_at)} UTC by {erasure.who}: "
            f"{counts or 'there was nothing to erase'}."
        )
        if erasure.completed_at is not None:
            typer.echo(f"Completed at {utc(erasure.completed_at)} UTC.")
        for disk in erasure.waiting_for:
            remark(f"Waits for disk {disk.id} at {disk.host}, seen {utc(disk.seen_at)} UTC.")
        if erasure.completed_at is None and erasure.erased_at is None:
            remark("A message to the number is being sent just now; it goes on by itself.")
