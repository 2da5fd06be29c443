"""Each page of the console is classified: whatever changes something leaves its entry."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from app.model.audit import Action
from app.model.receipt import Arrival, Rejection
from app.model.status import Status
from app.store.keys import KeyStore
from tests.architecture.routes import offered
from tests.cli.here import dlr
from tests.lookup.world import World, living

pytestmark = pytest.mark.asyncio(loop_scope="module")

Doing = Callable[["Desk"], Awaitable[httpx.Response]]


class Desk:
    """An admin's browser, signed in."""

    def __init__(self, world: World, browser: httpx.AsyncClient, token: str) -> None:
        self.world = world
        self.browser = browser
        self._form = {"csrf": token}

    async def get(self, path: str) -> httpx.Response:
        return await self.browser.get(f"/console{path}")

    async def post(self, path: str, **fields: str) -> httpx.Response:
        return await self.browser.post(f"/console{path}", data={**self._form, **fields})

    async def message(self, status: Status = Status.DELIVERED) -> str:
        later = datetime.now(UTC) + timedelta(hours=1)
        made = await self.world.message(
            status, created_at=later if status is Status.QUEUED else None
        )
        return f"/messages/{made.id}"

    async def key(self) -> str:
        id_, store = uuid4().hex[:8], KeyStore(self.world.service.runtime.database)
        await store.add(key_id=id_, app="another", digest=uuid4().bytes, scopes=frozenset({"read"}))
        return id_

    async def webhook(self) -> str:
        asked = {"url": "https://127.0.0.1/events"}
        return f"/webhooks/{(await self.world.admin.post('/v1/webhooks', json=asked)).json()['id']}"

    async def delivery(self) -> str:
        webhook = await self.webhook()
        await self.world.admin.post(f"/v1{webhook}/test")
        found = (await self.world.admin.get(f"/v1{webhook}/deliveries")).json()["deliveries"]
        return f"{webhook}/{found[0]['id']}"


async def sign_in(desk: Desk) -> httpx.Response:
    key = await desk.world.add_key("another-browser", "admin")
    other = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=desk.world.service), base_url="http://service"
    )
    async with other:
        return await other.post("/console/sign-in", data={"key": key})


async def sign_out(desk: Desk) -> httpx.Response:
    other, token = await signed_in(desk.world, "leaving")
    return await other.post("/console/sign-out", data={"csrf": token})


def of_message(path: str, status: Status = Status.DELIVERED, *, posts: bool = False) -> Doing:
    async def do(desk: Desk) -> httpx.Response:
        target = await desk.message(status) + path
        return await (desk.post(target) if posts else desk.get(target))

    return do


def of_webhook(path: str) -> Doing:
    async def do(desk: Desk) -> httpx.Response:
        return await desk.post(await desk.webhook() + path)

    return do


async def revoke(desk: Desk) -> httpx.Response:
    return await desk.post(f"/keys/{await desk.key()}/revoke")


async def replay_delivery(desk: Desk) -> httpx.Response:
    return await desk.post(f"{await desk.delivery()}/replay")


async def replay_rejected(desk: Desk) -> httpx.Response:
    await reject(desk)
    return await desk.post("/attention/replay-rejected")


async def reject(desk: Desk) -> None:
    body = b'{"sms_activity_id": "%s", "status": "DELIVERED"}' % uuid4().hex.encode()
    kept = Rejection(Arrival(uuid4(), datetime.now(UTC), body), 422, "as the test says")
    await desk.world.service.runtime.rejected.add([], [kept])


async def see_rejected(desk: Desk) -> httpx.Response:
    await reject(desk)
    return await desk.get("/attention")


ID = "{id:path}"
PAGES: Mapping[str, tuple[Action, Doing] | str] = {
    "GET /static/{name}": "styles and scripts",
    "GET /sign-in": "a form",
    "POST /sign-in": (Action.SIGN_IN, sign_in),
    "GET /sign-in/provider": "leads to the provider",
    "GET /sign-in/back": "signs in as POST /sign-in does: tests/console/test_openid.py",
    "POST /sign-out": (Action.SIGN_OUT, sign_out),
    "GET ": (Action.SEARCH, lambda desk: desk.get("?q=07700900&show=list")),
    "GET /": (Action.SEARCH, lambda desk: desk.get("/?q=07700901&show=list")),
    "GET /messages.csv": (Action.EXPORT, lambda desk: desk.get("/messages.csv?q=0777")),
    f"GET /messages/{ID}": (Action.LOOK, of_message("")),
    f"GET /messages/{ID}/live": (Action.LOOK, of_message("/live")),
    f"POST /messages/{ID}/text": (Action.REVEAL, of_message("/text", posts=True)),
    f"GET /messages/{ID}/print": (Action.LOOK, of_message("/print")),
    f"GET /messages/{ID}/evidence": (Action.REVEAL, of_message("/evidence")),
    f"GET /messages/{ID}/again": (Action.LOOK, of_message("/again")),
    f"POST /messages/{ID}/again": (Action.RESEND, of_message("/again", posts=True)),
    f"GET /messages/{ID}/cancel": (Action.LOOK, of_message("/cancel", Status.QUEUED)),
    f"POST /messages/{ID}/cancel": (
        Action.CANCEL, of_message("/cancel", Status.QUEUED, posts=True),
    ),
    "GET /overview": "counts alone",
    "GET /attention": (Action.SEE_REJECTED, see_rejected),
    "POST /attention/replay-rejected": (Action.REPLAY_REJECTED, replay_rejected),
    "GET /webhooks": "no number and no text is in it",
    "GET /webhooks/{id}": "no number and no text is in it",
    "POST /webhooks/{id}/pause": (Action.CHANGE_WEBHOOK, of_webhook("/pause")),
    "POST /webhooks/{id}/resume": (Action.CHANGE_WEBHOOK, of_webhook("/resume")),
    "POST /webhooks/{id}/test": (Action.TEST_WEBHOOK, of_webhook("/test")),
    "GET /webhooks/{id}/{delivery_id}": "no number and no text is in it",
    "POST /webhooks/{id}/{delivery_id}/replay": (Action.REPLAY_WEBHOOK, replay_delivery),
    "GET /keys": "neither secrets nor messages are in it",
    "POST /keys": (
        Action.CREATE_KEY, lambda desk: desk.post("/keys", name="new", **{"scope-read": "1"}),
    ),
    "GET /keys/{id}/revoke": "asks once",
    "POST /keys/{id}/revoke": (Action.REVOKE_KEY, revoke),
    "GET /audit": "shows nobody's messages",
    "GET /{path:path}": "says that there is no such page",
    "POST /{path:path}": "says that there is no such page",
}  # fmt: skip
"""What leaves an entry, and how an admin does it; or why it leaves none."""


async def signed_in(world: World, name: str) -> tuple[httpx.AsyncClient, str]:
    key = await world.add_key(name, "admin")
    transport = httpx.ASGITransport(app=world.service)
    browser = httpx.AsyncClient(transport=transport, base_url="http://service")
    world.clients[f"{name}'s browser"] = browser
    assert (await browser.post("/console/sign-in", data={"key": key})).status_code == 303
    page = (await browser.get("/console/webhooks")).text
    (token,) = set(re.findall(r'name="csrf" value="([^"]+)"', page))
    return browser, token


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(shared_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    key = tmp_path_factory.mktemp("evidence") / "key"
    assert dlr(["evidence", "keygen", "log.example/receipts", str(key)], {}).returncode == 0
    networks = "127.0.0.0/8"
    async with living(
        shared_url, webhook_allowed_networks=networks, evidence_key_file=key
    ) as world:
        yield Desk(world, *await signed_in(world, "fay"))


async def test_every_page_is_classified() -> None:
    pages = {
        f"{route.method} {route.path.removeprefix('/console')}"
        for route in offered()
        if route.path.startswith("/console")
    }
    assert pages == set(PAGES)


async def test_whatever_changes_something_is_audited() -> None:
    unaudited = {name for name, kind in PAGES.items() if isinstance(kind, str)}
    assert {name for name in unaudited if name.startswith("POST")} == {"POST /{path:path}"}


@pytest.mark.parametrize("name", [n for n, kind in PAGES.items() if not isinstance(kind, str)])
async def test_a_page_leaves_its_entry(desk: Desk, name: str) -> None:
    kind = PAGES[name]
    assert not isinstance(kind, str)
    action, doing = kind

    async def told() -> list[str]:
        found = await desk.world.admin.get("/v1/audit", params={"action": action})
        return [one["id"] for one in found.json()["entries"]]

    before = await told()
    answer = await doing(desk)
    assert answer.status_code < 400, answer.text
    assert set(await told()) - set(before)
