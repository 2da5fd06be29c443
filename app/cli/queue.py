"""`dlr queue`: what waits to be sent, and what to do where the database forgot what was sent.

Works on the database; whoever has its URL is trusted.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from app.cli.actor import os_actor
from app.cli.configuration import load
from app.cli.database import with_database
from app.cli.output import AsJson, print_json, print_table
from app.cli.times import time_option
from app.model.audit import Action
from app.store.engine import Database
from app.store.incarnation import Presence, Process
from app.store.presence import PresenceStore
from app.store.queue import QueueStore, Waiting

SEEN_WITHIN = 5.0
"""Seconds for the processes to see a hold: they look every second."""
PAUSE = 0.2

queue = typer.Typer(help="What waits to be sent: show, hold, settle and release it.")


class SettleAs(StrEnum):
    """What messages are settled as."""

    UNCONFIRMED = "UNCONFIRMED"


def add_to(cli: typer.Typer) -> None:
    """Register the commands."""
    cli.add_typer(queue, name="queue")


@queue.callback(invoke_without_command=True, epilog="Example: dlr queue --json | jq .")
def show_queue(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what waits, since when and for whom, whether it is held, and the processes."""
    if context.invoked_subcommand is not None:
        return
    waiting, found = with_database(load(), _look)
    shown = _described(waiting, found)
    if as_json:
        print_json(shown)
        return
    rows = [(one["app"], one["messages"], one["due"], one["since"]) for one in shown["waiting"]]
    if rows:
        print_table(("app", "messages", "due", "since"), rows)
    else:
        typer.echo("Nothing waits.")
    hold = shown["hold"]
    if hold:
        typer.echo(f"Held since {hold['since']} by {hold['by']}: {hold['reason']}")
    typer.echo(shown["explanation"])
    processes = [
        (one["name"], one["host"], one["state"], one["seen_at"]) for one in shown["processes"]
    ]
    if processes:
        print_table(("process", "host", "state", "seen_at"), processes, fixed=1)


@queue.command("hold", epilog='Example: dlr queue hold --reason "restoring last night\'s backup"')
def hold_queue(
    reason: Annotated[str, typer.Option(help="Why, for whoever looks.")] = "held by an operator",
) -> None:
    """Send nothing that is queued until `dlr queue release`. New messages join the queue."""

    async def hold(database: Database) -> list[Process]:
        presence = PresenceStore(database)
        entry = os_actor().did(Action.HOLD_QUEUE, details={"reason": reason})
        await presence.hold(_operator(), reason, entry=entry)
        until = time.monotonic() + SEEN_WITHIN
        while unaware := _unaware(await presence.look()):
            if time.monotonic() > until:
                break
            await asyncio.sleep(PAUSE)
        return unaware

    unaware = with_database(load(), hold)
    typer.echo("The queue is held.")
    for one in unaware:
        typer.echo(f"Process {one.name} on {one.host} has not confirmed it.", err=True)


@queue.command(
    "settle", epilog="Example: dlr queue settle --before 2026-11-22T09:00:00Z --as UNCONFIRMED"
)
def settle_queue(
    before: Annotated[datetime, time_option("--before", help="Messages made before this.")],
    status: Annotated[SettleAs, typer.Option("--as", help="What they become.")],
) -> None:
    """Give up what waits from before a time: it may have been sent, so it is not sent blindly.

    It becomes UNCONFIRMED; a receipt that names it settles it further.
    """

    async def settle(database: Database) -> int:
        store = QueueStore(database)
        await store.settlements()  # the first query makes the database's time known
        if before > (now := database.clock.now()):
            # A settlement that the database forgets is repeated, and would take in what is queued
            # after it.
            raise typer.BadParameter(
                f"it lies in the future; the database's time is {_time(now)}",
                param_hint="--before",
            )
        entry = os_actor().did(Action.SETTLE_QUEUE, details={"before": _time(before)})
        return await store.settle(before, by=_operator(), entry=entry)

    settled = with_database(load(), settle)
    typer.echo(f"{settled} messages are {status} now.")


@queue.command("release", epilog="Example: dlr queue release")
def release_queue() -> None:
    """Send what is queued again, without waiting for processes that have not come back."""

    async def release(database: Database) -> list[Process]:
        presence = PresenceStore(database)
        absent = (await presence.look()).absent
        await presence.release(entry=os_actor().did(Action.RELEASE_QUEUE))
        return absent

    for one in with_database(load(), release):
        typer.echo(f"Process {one.name} on {one.host} is not waited for any more.", err=True)
    typer.echo("The queue is released.")


async def _look(database: Database) -> tuple[list[Waiting], Presence]:
    return (
        await QueueStore(database).waiting(datetime.now(UTC)),
        await PresenceStore(database).look(),
    )


def _described(waiting: list[Waiting], found: Presence) -> dict[str, Any]:
    newest, hold = found.newest, found.hold
    absent = {one.name for one in found.absent} if newest and not newest.is_released else set()
    return {
        "waiting": [
            {
                "app": one.app,
                "messages": one.messages,
                "due": one.due,
                "since": _time(one.since),
            }
            for one in waiting
        ],
        "hold": hold and {"since": _time(hold.held_at), "by": hold.held_by, "reason": hold.reason},
        "waits_for": sorted(absent),
        "explanation": _explanation(found, absent),
        "incarnation": newest
        and {"n": newest.n, "begun_at": _time(newest.begun_at), "why": newest.why},
        "processes": [
            {
                "name": one.name,
                "host": one.host,
                "state": _state(one, absent),
                "seen_at": _time(one.seen_at),
            }
            for one in sorted(found.processes.values(), key=lambda each: each.seen_at)
        ],
    }


def _explanation(found: Presence, absent: set[str]) -> str:
    if found.hold is not None:
        return "Nothing that is queued is sent until `dlr queue release`."
    if not absent or found.newest is None:
        return "Not held: it is sent as it comes due."
    return (
        f"Since {_time(found.newest.begun_at)} ({found.newest.why}) what was queued before waits "
        f"for {len(absent)} processes to bring back what they know; if they are gone for good: "
        "`dlr queue settle` and `dlr queue release`."
    )


def _state(one: Process, absent: set[str]) -> str:
    if one.is_stopped:
        return "stopped"
    return "not back yet" if one.name in absent else "there"


def _unaware(found: Presence) -> list[Process]:
    hold = found.hold
    if hold is None:
        return []
    return [
        one
        for one in found.processes.values()
        if not one.is_stopped and one.seen_at <= hold.held_at
    ]


def _operator() -> str:
    return os_actor().who.removeprefix("os:")


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
