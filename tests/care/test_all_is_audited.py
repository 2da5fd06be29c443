"""Whatever changes something over the API leaves its entry: each route is classified here.

A new one fails this until it is in the table: with how to do it, and then it has to leave its
entry, or with why it leaves none.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from app.model.audit import Action
from app.model.receipt import Arrival, Rejection
from app.model.status import Status
from app.model.webhook import event_payload
from app.store.outbox.store import OutboxStore
from app.web.paths import ANY_MESSAGE_ID
from tests.architecture.routes import offered
from tests.cli.here import dlr
from tests.lookup.world import World, living

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(shared_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """With an evidence log."""
    key = tmp_path_factory.mktemp("evidence") / "key"
    assert dlr(["evidence", "keygen", "log.example/receipts", str(key)], {}).returncode == 0
    networks = "127.0.0.0/8"
    async with living(
        shared_url, webhook_allowed_networks=networks, evidence_key_file=key
    ) as world:
        yield world


Doing = Callable[[World], Awaitable[httpx.Response]]


class Leaves:
    """What leaves an entry of ``action``, and how an admin does it."""

    def __init__(self, action: Action, doing: Doing) -> None:
        self.action = action
        self.doing = doing


class LeavesNone:
    """What leaves none, and why."""

    def __init__(self, why: str) -> None:
        self.why = why


async def some_message(world: World) -> str:
    return str((await world.message(Status.DELIVERED)).id)


async def search(world: World) -> httpx.Response:
    return await world.admin.get("/v1/messages", params={"destination": "+44 7700 900123"})


async def look(world: World) -> httpx.Response:
    return await world.admin.get(f"/v1/messages/{await some_message(world)}")


async def look_at_many(world: World) -> httpx.Response:
    ids = [await some_message(world)]
    return await world.admin.post("/v1/messages/lookup", json={"ids": ids})


async def cancel(world: World) -> httpx.Response:
    later = datetime.now(UTC) + timedelta(hours=1)
    queued = await world.message(Status.QUEUED, created_at=later)
    return await world.admin.delete(f"/v1/messages/{queued.id}")


async def resend(world: World) -> httpx.Response:
    return await world.admin.post(f"/v1/messages/{await some_message(world)}/resend")


async def rejected_receipt(world: World) -> None:
    body = json.dumps({"sms_activity_id": str(uuid4()), "status": "DELIVERED"}).encode()
    kept = Rejection(Arrival(uuid4(), datetime.now(UTC), body), 422, "as the test says")
    await world.service.runtime.rejected.add([], [kept])


async def see_rejected(world: World) -> httpx.Response:
    return await world.admin.get("/v1/receipts/rejected")


async def replay_rejected(world: World) -> httpx.Response:
    await rejected_receipt(world)
    return await world.admin.post("/v1/receipts/rejected/replay")


async def create_webhook(world: World) -> httpx.Response:
    return await world.admin.post("/v1/webhooks", json={"url": "https://127.0.0.1/events"})


def with_webhook(method: str, path: str, body: Any = None) -> Doing:
    async def do(world: World) -> httpx.Response:
        webhook = (await create_webhook(world)).json()["id"]
        deliveries = f"/v1/webhooks/{webhook}/deliveries"
        await world.admin.post(f"/v1/webhooks/{webhook}/test")
        delivery = (await world.admin.get(deliveries)).json()["deliveries"][0]["id"]
        target = f"/v1/webhooks/{webhook}{path.format(delivery=delivery)}"
        return await world.admin.request(method, target, json=body)

    return do


async def replay_many(world: World) -> httpx.Response:
    asked = {"url": "https://127.0.0.1/events", "statuses": ["DELIVERED"]}
    webhook = (await world.admin.post("/v1/webhooks", json=asked)).json()["id"]
    await some_message(world)
    outbox, lease = OutboxStore(world.service.runtime.database), uuid4()
    now = datetime.now(UTC)
    await outbox.claim([UUID(webhook)], lease=lease, now=now, until=now + timedelta(minutes=1))
    await outbox.fill(UUID(webhook), lease=lease, now=now, payload=event_payload)
    return await world.admin.post(
        f"/v1/webhooks/{webhook}/replay", json={"from": "2020-01-01T00:00:00Z"}
    )


async def erase(world: World) -> httpx.Response:
    return await world.admin.post("/v1/erasures", json={"destination": "+447700900888"})


async def evidence(world: World) -> httpx.Response:
    return await world.admin.get(f"/v1/messages/{await some_message(world)}/evidence")


READS = "no number and no text is in it"

NO_CONTENT = "shows hashes and sizes alone"
ROUTES: Mapping[str, Leaves | LeavesNone] = {
    "POST /v1/messages": LeavesNone("a send: the message itself is the record of it"),
    "POST /v1/messages/batch": LeavesNone("sends"),
    "GET /v1/messages": Leaves(Action.SEARCH, search),
    "GET /v1/messages/{id}": Leaves(Action.LOOK, look),
    "POST /v1/messages/lookup": Leaves(Action.LOOK, look_at_many),
    "DELETE /v1/messages/{id}": Leaves(Action.CANCEL, cancel),
    "POST /v1/messages/{id}/resend": Leaves(Action.RESEND, resend),
    "GET /v1/stats": LeavesNone("counts alone"),
    "GET /v1/events": LeavesNone(READS),
    "GET /v1/events/stream": LeavesNone(READS),
    "GET /v1/receipts/unmatched": LeavesNone(READS),
    "GET /v1/receipts/rejected": Leaves(Action.SEE_REJECTED, see_rejected),
    "POST /v1/receipts/rejected/replay": Leaves(Action.REPLAY_REJECTED, replay_rejected),
    "GET /v1/webhooks": LeavesNone(READS),
    "POST /v1/webhooks": Leaves(Action.CREATE_WEBHOOK, create_webhook),
    "GET /v1/webhooks/{id}": LeavesNone(READS),
    "PATCH /v1/webhooks/{id}": Leaves(
        Action.CHANGE_WEBHOOK, with_webhook("PATCH", "", {"paused": True})
    ),
    "DELETE /v1/webhooks/{id}": Leaves(Action.DELETE_WEBHOOK, with_webhook("DELETE", "")),
    "POST /v1/webhooks/{id}/secret": Leaves(Action.ROTATE_WEBHOOK, with_webhook("POST", "/secret")),
    "POST /v1/webhooks/{id}/test": Leaves(Action.TEST_WEBHOOK, with_webhook("POST", "/test")),
    "GET /v1/webhooks/{id}/deliveries": LeavesNone(READS),
    "GET /v1/webhooks/{id}/deliveries/{delivery_id}": LeavesNone(READS),
    "POST /v1/webhooks/{id}/deliveries/{delivery_id}/replay": Leaves(
        Action.REPLAY_WEBHOOK, with_webhook("POST", "/deliveries/{delivery}/replay")
    ),
    "POST /v1/webhooks/{id}/replay": Leaves(Action.REPLAY_WEBHOOK, replay_many),
    "POST /v1/erasures": Leaves(Action.ERASE, erase),
    "GET /v1/erasures/{id}": LeavesNone(READS),
    "GET /v1/alarms": LeavesNone(READS),
    "GET /v1/evidence/checkpoint": LeavesNone(NO_CONTENT),
    "GET /v1/evidence/checkpoints": LeavesNone(NO_CONTENT),
    "GET /v1/evidence/consistency": LeavesNone(NO_CONTENT),
    "GET /v1/evidence/keys": LeavesNone(NO_CONTENT),
    "GET /v1/messages/{id:owned_message_id}/evidence": Leaves(Action.LOOK, evidence),
    "GET /v1/audit": LeavesNone("shows nobody's messages"),
}


WITHOUT_A_KEY = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/redoc"}
"""They show nobody's messages, and change nothing."""
PAGES = "/console"
"""The pages for people are classified in tests/console/test_all_is_audited.py."""


def routes_of_the_api() -> set[str]:
    return {
        f"{route.method} {route.path.replace(f':{ANY_MESSAGE_ID}', '')}"
        for route in offered()
        if not route.path.startswith(PAGES) and route.path not in WITHOUT_A_KEY
    }


async def test_every_route_is_classified() -> None:
    assert routes_of_the_api() == set(ROUTES)


async def test_whatever_changes_something_is_audited() -> None:
    """Nobody takes the easy way out in the table above."""
    unaudited = {name for name, kind in ROUTES.items() if isinstance(kind, LeavesNone)}
    changing = {name for name in unaudited if not name.startswith("GET ")}
    assert changing == {"POST /v1/messages", "POST /v1/messages/batch"}


async def entries(world: World, **wanted: str) -> list[dict[str, Any]]:
    answer = await world.admin.get("/v1/audit", params=wanted)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


@pytest.mark.parametrize("name", [n for n, kind in ROUTES.items() if isinstance(kind, Leaves)])
async def test_a_route_leaves_its_entry(world: World, name: str) -> None:
    kind = ROUTES[name]
    assert isinstance(kind, Leaves)
    before = {one["id"] for one in await entries(world, action=kind.action)}
    began = datetime.now(UTC)
    answer = await kind.doing(world)
    assert answer.status_code < 300, answer.text
    new = [one for one in await entries(world, action=kind.action) if one["id"] not in before]
    assert new
    assert {(one["app"], one["address"], one["times"]) for one in new} == {
        ("admin", "127.0.0.1", 1)
    }
    assert all(one["who"].startswith("key:") for one in new)
    assert all(began <= datetime.fromisoformat(one["at"]) <= datetime.now(UTC) for one in new)
