"""A service with messages in every state, for a browser."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert

from app.model.receipt import Arrival, Rejection
from app.model.status import Status
from app.store.ids import new_id
from app.store.tables import webhook_deliveries, webhooks
from tests.lookup.world import World, living

EVIL = "<script>document.title='owned'</script><img src=x onerror=alert(1)>"
NUMBER = "447700900123"
ATTEMPTS = [
    {"at": "2026-07-01T12:00:00+00:00", "took_ms": 12, "status_code": 500,
     "error": "it answered 500", "response": f"out of order {EVIL}"},
    {"at": "2026-07-01T12:00:01+00:00", "took_ms": 10_000,
     "error": "it did not answer within 10 s"},
    {"at": "2026-07-01T12:00:13+00:00", "took_ms": 3, "status_code": 204},
]  # fmt: skip


@dataclass
class Seeded:
    """Keys by name, ids of messages by what became of them."""

    keys: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)


def in_own_loop(work: Callable[[], Any]) -> Any:
    """Run a coroutine where the test's own loop may be running."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(work())))
    thread.start()
    thread.join()
    return found[0]


def seed(url: str, *, messages: bool = True) -> Seeded:
    """Keys, and messages in every state."""
    seeded: Seeded = in_own_loop(lambda: _seed(url, messages=messages))
    return seeded


async def _seed(url: str, *, messages: bool) -> Seeded:
    seeded = Seeded()
    async with living(url) as world:
        for name, scopes in (
            ("billing", ("read", "send", "webhooks")),
            ("shipping", ("read",)),
            ("support", ("support",)),
            ("admin", ("admin",)),
            ("sender", ("send",)),
        ):
            seeded.keys[name] = await world.add_key(name, *scopes)
        if messages:
            await _messages(world, seeded)
            await _troubles(world, seeded)
    return seeded


async def _messages(world: World, seeded: Seeded) -> None:
    now = datetime.now(UTC).replace(microsecond=0)

    async def add(name: str, status: Status, ago: timedelta, **more: Any) -> str:
        at = now - ago
        wanted = {
            "destination": NUMBER,
            "reference": f"order-{len(seeded.ids) + 1}",
            "text": f"Your order is on its way ({name})",
            "created_at": at,
            "status_at": at + timedelta(seconds=10),
            **more,
        }
        made = await world.message(status, **wanted)
        seeded.ids[name] = str(made.id)
        return str(made.id)

    hour = timedelta(hours=1)
    await add(
        "delivered",
        Status.DELIVERED,
        26 * hour,
        sms_activity_id="d454cfe0-a835-11e6-9852-d43d7ed6ce4c",
        receipts=[(Status.ACKNOWLEDGED, now - 26 * hour + timedelta(seconds=1))],
    )
    await add("failed", Status.FAILED, 30 * hour)
    await add("expired", Status.EXPIRED, 40 * hour, destination="447700900124")
    await add("buffered", Status.BUFFERED, 2 * hour, destination="447700900125")
    await add("submitted", Status.SUBMITTED, timedelta(minutes=1), destination="447700900126")
    await add("unconfirmed", Status.UNCONFIRMED, 3 * hour, destination="447700900127")
    await add("rejected", Status.REJECTED, 5 * hour, destination="447700900128")
    await add("overdue", Status.SUBMITTED, 90 * hour, destination="447700900129")
    await add(
        "queued",
        Status.QUEUED,
        timedelta(minutes=20),
        destination="447700900131",
    )
    await add(
        "contradictory",
        Status.DELIVERED,
        50 * hour,
        destination="447700900132",
        receipts=[(Status.FAILED, now - 49 * hour)],
    )
    await add(
        "evil",
        Status.DELIVERED,
        7 * hour,
        destination="447700900133",
        text=EVIL,
        reference=EVIL,
        receipts=[(EVIL, now - 7 * hour)],
    )
    await add(
        "shipping",
        Status.DELIVERED,
        8 * hour,
        app="shipping",
        reference="parcel-secret",
        destination="447700900199",
    )
    for place in range(70):
        await add(
            f"many-{place}",
            Status.DELIVERED if place % 7 else Status.FAILED,
            timedelta(days=2, minutes=7 * place),
            destination=f"4477009005{place:02d}",
            reference=f"bulk-{place}",
        )


async def _plant(world: World, seeded: Seeded) -> None:
    """Script in the names of an app and its keys, in a webhook, and in what its receiver said."""
    now = datetime.now(UTC)
    await world.add_key(EVIL, "read")
    message = await world.message(Status.DELIVERED, app=EVIL, destination="447700900134")
    webhook = {
        "id": new_id(),
        "url": f"https://evil.example/{EVIL}",
        "statuses": "DELIVERED",
        "secret": "whsec_" + "A" * 32,
        "created_at": now,
        "position": 1_000_000,
    }
    states = (("ACTIVE", None), ("PAUSED", EVIL))
    hooks = [
        {**webhook, "id": new_id(), "app": app, "state": state, "reason": reason}
        for app in ("billing", EVIL)
        for state, reason in states
    ]
    told = [
        {
            "id": new_id(),
            "webhook_id": hook["id"],
            "message_id": message.id,
            "type": "message.delivered",
            "body": f'{{"text": "{EVIL}"}}',
            "state": "FAILED",
            "attempts": 3,
            "created_at": now,
            "ended_at": now,
            "status_code": 500,
            "error": f"the receiver said {EVIL}",
            "attempt_log": json.dumps(ATTEMPTS),
        }
        for hook in hooks
    ]
    async with world.service.runtime.database.write() as connection:
        await connection.execute(insert(webhooks), hooks)
        await connection.execute(insert(webhook_deliveries), told)
    seeded.ids["told"] = str(message.id)
    seeded.ids["telling"] = f"{told[0]['webhook_id']}/{told[0]['id']}"


async def _troubles(world: World, seeded: Seeded) -> None:
    now = datetime.now(UTC)
    await _plant(world, seeded)
    await world.receipts("unknown-activity-1", (Status.DELIVERED, now - timedelta(hours=1)))
    call = Arrival(new_id(), now, f'{{"status": "{EVIL}"}}'.encode())
    await world.service.runtime.receipts.add(
        [], [Rejection(call, 422, f"The receipt is not valid: {EVIL}")]
    )
