"""What people do at the console leaves its entry before they are shown anything."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.model.status import Status
from tests.lookup.world import World, living

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(shared_url: str) -> AsyncIterator[World]:
    async with living(shared_url) as made:
        yield made


async def entries(world: World, **wanted: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await world.admin.get("/v1/audit", params=wanted)).json()[
        "entries"
    ]
    return found


async def signed_in(world: World, name: str, *scopes: str) -> tuple[httpx.AsyncClient, str]:
    """A browser, and the token of its forms."""
    key = await world.add_key(name, *scopes)
    transport = httpx.ASGITransport(app=world.service)
    client = httpx.AsyncClient(transport=transport, base_url="http://service")
    world.clients[f"{name}'s browser"] = client
    assert (await client.post("/console/sign-in", data={"key": key})).status_code == 303
    page = (await client.get("/console/webhooks")).text
    (token,) = set(re.findall(r'name="csrf" value="([^"]+)"', page))
    return client, token


async def test_signing_in_and_out_and_in_vain(world: World) -> None:
    client, token = await signed_in(world, "ann", "support")
    assert (await client.post("/console/sign-out", data={"csrf": token})).status_code == 303
    found = await entries(world, who="ann")
    assert [one["action"] for one in found] == ["console.sign-out", "console.sign-in"]
    await client.post("/console/sign-in", data={"key": "dlr_wrong"})
    await world.service.runtime.failures.flush()
    assert (await entries(world, action="authentication.failed"))[0]["times"] >= 1


async def test_searching_looking_and_revealing(world: World) -> None:
    message = await world.message(Status.DELIVERED, destination="447700900777", text="Secret")
    client, token = await signed_in(world, "ben", "read", "support")
    assert (await client.get("/console?q=0777&show=list")).status_code == 200
    page = await client.get(f"/console/messages/{message.id}")
    assert "Secret" not in page.text
    shown = await client.post(f"/console/messages/{message.id}/text", data={"csrf": token})
    assert "Secret" in shown.text
    assert (await client.get("/console/messages.csv?q=0777")).status_code == 200
    found = [(one["action"], one["what"]) for one in await entries(world, who="ben")]
    assert found == [
        ("messages.export", None),
        ("message.reveal", str(message.id)),
        ("message.look", str(message.id)),
        ("messages.search", None),
        ("console.sign-in", None),
    ]


async def test_a_part_of_a_number_is_erased_with_it(world: World) -> None:
    await world.message(Status.DELIVERED, destination="447700900778")
    client, _ = await signed_in(world, "cem", "support")
    await client.get("/console?q=07700900778&show=list")
    (searched,) = await entries(world, who="cem", action="messages.search")
    assert searched["destination"] == "7700900778"
    erased = await world.admin.post("/v1/erasures", json={"destination": "+447700900778"})
    assert erased.status_code == 202
    await world.service.runtime.eraser.run_once()
    (searched,) = await entries(world, who="cem", action="messages.search")
    assert "900778" not in str(searched)


async def test_deeds_and_refusals(world: World) -> None:
    message = await world.message(Status.QUEUED)
    client, token = await signed_in(world, "dee", "admin")
    form = {"csrf": token}
    gone = await client.post(f"/console/messages/{message.id}/cancel", data=form)
    assert gone.status_code == 303
    await client.post("/console/keys", data={**form, "name": "new", "scope-read": "1"})
    actions = {one["action"] for one in await entries(world, who="dee")}
    assert {"message.cancel", "key.create"} <= actions
    other, _ = await signed_in(world, "eve", "support")
    assert (await other.get("/console/keys")).status_code == 403
    (refused,) = await entries(world, who="eve", action="request.refused")
    assert refused["what"] == "GET /console/keys"
