"""Whatever changes something by a command leaves its entry: each command is classified here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from app.model.audit import Action
from app.model.receipt import Arrival, Rejection
from app.store.engine import Database
from app.store.receipts import ReceiptStore
from tests.architecture.commands import offered_commands
from tests.cli.here import dlr


class LeavesNone(str):
    """Why a command leaves no entry."""


OVER_THE_API = "asks the service, which audits it"
COMMANDS: Mapping[str, Action | LeavesNone] = {
    "keys create": Action.CREATE_KEY,
    "keys revoke": Action.REVOKE_KEY,
    "keys list": LeavesNone("neither secrets nor messages are in it"),
    "receipts rejected": Action.SEE_REJECTED,
    "receipts replay": Action.REPLAY_REJECTED,
    "purge": Action.PURGE,
    "erase": Action.ERASE,
    "audit": LeavesNone("shows nobody's messages"),
    "secrets key": LeavesNone("prints a new key, and changes nothing"),
    "secrets encrypt": LeavesNone("changes how secrets are stored, and no record"),
    "queue hold": Action.HOLD_QUEUE,
    "queue release": Action.RELEASE_QUEUE,
    "queue settle": Action.SETTLE_QUEUE,
    "evidence keygen": LeavesNone("writes a new key into a file, and changes nothing"),
    "evidence verify": LeavesNone("reads a file that its user has"),
    "evidence audit": LeavesNone("compares, and shows no message's content"),
    "evidence stamp": LeavesNone("adds a time stamp to a checkpoint, and changes no record"),
    "evidence cosign": LeavesNone("adds a co-signature to a checkpoint, and changes no record"),
    "doctor": LeavesNone("looks, and changes nothing"),
    "alarms": LeavesNone(OVER_THE_API),
    "serve": LeavesNone("starts a process"),
    "worker": LeavesNone("starts a process"),
    "simulator": LeavesNone("is iovox's stand-in"),
    "demo": LeavesNone("works on a database of its own"),
    "migrate": LeavesNone("changes the schema, and no record"),
    **dict.fromkeys(
        ("send", "cancel", "resend", "status", "list", "stats", "tail"), LeavesNone(OVER_THE_API)
    ),
    **{
        f"webhooks {name}": LeavesNone(OVER_THE_API)
        for name in (
            "create", "list", "change", "pause", "resume", "delete", "rotate", "test",
            "deliveries", "replay",
        )
    },
}  # fmt: skip


def test_every_command_is_classified() -> None:
    assert set(offered_commands()) == set(COMMANDS)


@pytest.mark.parametrize("name", [n for n, kind in COMMANDS.items() if isinstance(kind, Action)])
def test_a_command_leaves_its_entry(shared_url: str, name: str) -> None:
    action = COMMANDS[name]
    assert isinstance(action, Action)
    env = {"DLR_DATABASE_URL": shared_url}
    words = name.split()
    if name.startswith("keys"):
        made = dlr(["keys", "create", "billing", "--scope", "read"], env)
        key_id = made.stderr.split()[1]
        words += [key_id] if name == "keys revoke" else ["shipping", "--scope", "read"]
    if name.startswith("receipts"):
        asyncio.run(_reject(shared_url))
    if name == "purge":
        dlr(["keys", "create", "billing", "--scope", "read"], env)  # its entry is what is purged
        words += ["--older-than", "0m", "--yes"]
    if name == "queue settle":
        words += ["--before", "2026-01-01T00:00:00Z", "--as", "UNCONFIRMED"]
    if name == "erase":
        words += ["--destination", "+447700900123"]
    done = dlr(words, env)
    assert done.returncode == 0, done.stderr
    listed = dlr(["audit", "--action", action, "--json"], env)
    assert listed.returncode == 0, listed.stderr
    newest = json.loads(listed.stdout.splitlines()[0])
    assert newest["who"].startswith("os:")
    assert "@" in newest["who"]
    assert (newest["action"], newest["app"], newest["address"]) == (action, None, None)
    for_people = dlr(["audit", "--action", action], env)
    assert newest["who"] in for_people.stdout


async def _reject(url: str) -> None:
    database = Database(url)
    body = b'{"sms_activity_id": "a-1", "status": "DELIVERED"}'
    kept = Rejection(Arrival(uuid4(), datetime.now(UTC), body), 422, "as the test says")
    await ReceiptStore(database).add([], [kept])
    await database.close()
