"""The scope `support`: reads what every app has, changes nothing, and is shown no texts unasked."""

from __future__ import annotations

import asyncio
import csv
import json
from uuid import uuid4

import pytest

from app.model.status import Status
from app.store.keys import KeyStore
from tests.lookup.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "Your code is 4711"


async def test_it_reads_every_apps_messages(world: World) -> None:
    mine = await world.message(app="billing", reference="of support")
    other = await world.message(app="shipping", reference="of support")
    support = world.as_app("support")
    for message in (mine, other):
        assert (await support.get(f"/v1/messages/{message.id}")).status_code == 200
    listed = (await support.get("/v1/messages?reference=of support")).json()["messages"]
    assert {each["id"] for each in listed} == {str(mine.id), str(other.id)}
    narrowed = await support.get("/v1/messages?reference=of support&app=shipping")
    assert [each["id"] for each in narrowed.json()["messages"]] == [str(other.id)]
    assert (await support.get("/v1/stats?app=shipping")).status_code == 200
    assert (await support.get("/v1/events")).status_code == 200
    refused = await world.as_app("billing").get("/v1/messages?app=shipping")
    assert refused.status_code == 403
    assert "support or admin" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("asks", "query", "shown"),
    [
        ("support", "", None),
        ("support", "reveal=text", TEXT),
        ("admin", "", TEXT),
        ("billing", "", TEXT),
        ("billing", "reveal=text", TEXT),
    ],
)
async def test_texts(world: World, asks: str, query: str, shown: str | None) -> None:
    reference = uuid4().hex
    message = await world.message(text=TEXT, reference=reference)
    client = world.as_app(asks)
    one = await client.get(f"/v1/messages/{message.id}?{query}")
    page = f"/v1/messages?reference={reference}&{query}"
    listed = (await client.get(page)).json()["messages"]
    many = await client.post(f"/v1/messages/lookup?{query}", json={"ids": [str(message.id)]})
    lines = (await client.get(page, headers={"Accept": "application/x-ndjson"})).text
    table = (await client.get(page, headers={"Accept": "text/csv"})).text
    found = [one.json(), *listed, *many.json()["messages"], json.loads(lines)]
    assert [each["message"] for each in found] == [shown] * 4
    assert [row["message"] for row in csv.DictReader(table.splitlines())] == [shown or ""]


async def test_another_word_to_reveal_is_refused(world: World) -> None:
    response = await world.as_app("support").get("/v1/messages?reveal=everything")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "reveal"


async def test_with_another_scope_it_changes_its_own_apps_messages_alone(world: World) -> None:
    await world.add_key("desk", "support", "send")
    message = await world.message(app="billing")
    desk = world.as_app("desk")
    assert (await desk.get(f"/v1/messages/{message.id}")).status_code == 200
    assert (await desk.delete(f"/v1/messages/{message.id}")).status_code == 404
    assert (await desk.post(f"/v1/messages/{message.id}/resend")).status_code == 404


@pytest.mark.parametrize("status", [Status.DELIVERED, Status.FAILED, Status.SUBMITTED])
async def test_cancelling_what_is_beyond_it_names_its_status(world: World, status: Status) -> None:
    message = await world.message(status, app="sender")
    refused = await world.as_app("sender").delete(f"/v1/messages/{message.id}")
    assert refused.status_code == 409
    assert refused.json()["detail"].endswith(f"this one is {status}")


async def test_a_held_answer_does_not_come_after_the_key_was_revoked(world: World) -> None:
    app = uuid4().hex
    await world.add_key(app, "read")
    message = await world.message(app=app, sms_activity_id=f"held-{app}")
    ask = world.as_app(app).get(f"/v1/messages/{message.id}?wait=20", timeout=60)
    answer = asyncio.create_task(ask)
    await asyncio.sleep(0.3)
    keys = KeyStore(world.service.runtime.database)
    (key,) = [key.id for key in await keys.all() if key.app == app]
    assert await keys.revoke(key)
    assert not answer.done()
    await world.receipts(f"held-{app}", ("DELIVERED", message.created_at))
    world.announce()
    assert (await answer).status_code == 401
