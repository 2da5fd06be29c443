"""What a send accepted is found by the same words; what no send can read is 422 everywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.lookup.world import World, faults, living

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANYWHERE = ["+44 (0)7700 900100", "\u202a+44\u200b7700/900100", "＋４４ ７７００ ９００１００"]  # noqa: RUF001
IN_BRITAIN = ["07700 900100", "(0)7700.900100"]
NOWHERE = ["7700", "+44 7700 900100 ext 4", "hello"]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["GB", None])
async def region(request: pytest.FixtureRequest, shared_url: str) -> AsyncIterator[World]:
    """The service with that default region."""
    async with living(shared_url, default_region=request.param) as world:
        await world.add_key("shop", "send", "read")
        yield world


@pytest.mark.parametrize("written", ANYWHERE + IN_BRITAIN + NOWHERE)
async def test_a_number_means_the_same_everywhere(region: World, written: str) -> None:
    home = region.service.runtime.settings.default_region
    client = region.as_app("shop")
    message = {"origin": "Shop", "destination": written, "message": "Hello"}
    sent = await client.post("/v1/messages", json=message)
    batch = await client.post("/v1/messages/batch", json={"messages": [message]})
    listed = await client.get("/v1/messages", params={"destination": written})
    assert batch.status_code == 202
    (in_batch,) = batch.json()["messages"]
    if written in ANYWHERE or (written in IN_BRITAIN and home):
        assert (sent.status_code, in_batch["status"]) == (202, "QUEUED")
        assert {sent.json()["id"], in_batch["id"]} <= {
            one["id"] for one in listed.json()["messages"]
        }
        assert {one["destination"] for one in listed.json()["messages"]} == {"447700900100"}
    else:
        assert (sent.status_code, listed.status_code) == (422, 422)
        for found in (
            faults(sent),
            faults(listed),
            {f["field"]: f["message"] for f in in_batch["errors"]},
        ):
            assert "write it in international form, such as +447700900123" in found["destination"]


async def test_the_region_is_of_one_service_alone(region: World, shared_url: str) -> None:
    async with living(shared_url, default_region="FR") as other:
        await other.message(destination="33612345678", app="french")
        asked = {"destination": "06 12 34 56 78"}
        there = await other.admin.get("/v1/messages", params=asked)
        here = await region.admin.get("/v1/messages", params=asked)
    assert "33612345678" in {one["destination"] for one in there.json()["messages"]}
    assert not here.json().get("messages")  # nobody's in Britain, unreadable without a region
