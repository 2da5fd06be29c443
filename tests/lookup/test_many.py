"""Many ids in one call."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from app.model.status import Status
from tests.lookup.world import NOW, Json, World, faults

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/messages/lookup"


async def _look_up(world: World, app: str, *ids: object) -> Json:
    response = await world.as_app(app).post(PATH, json={"ids": [str(one) for one in ids]})
    assert response.status_code == 200, response.text
    body: Json = response.json()
    return body


async def test_they_come_in_order_and_whole(world: World) -> None:
    first = await world.message(Status.DELIVERED)
    second = await world.message(Status.FAILED, sms_activity_id="many/2")
    body = await _look_up(world, "billing", "many/2", "nothing", first.id, uuid4())
    singly = [
        (await world.as_app("billing").get(f"/v1/messages/{one.id}")).json()
        for one in (second, first)
    ]
    assert body["messages"] == singly
    assert body["not_found"][0] == "nothing"
    assert len(body["not_found"]) == 2


async def test_each_comes_once_however_often_it_is_named(world: World) -> None:
    message = await world.message(sms_activity_id="many-names")
    names = ["nothing", message.id, "many-names", str(message.id).upper(), message.id, "nothing"]
    body = await _look_up(world, "billing", *names)
    assert [one["id"] for one in body["messages"]] == [str(message.id)]
    assert body["not_found"] == ["nothing"]


async def test_another_apps_are_not_found(world: World) -> None:
    theirs = await world.message(app="billing", sms_activity_id="theirs")
    await world.receipts("of-nobody", ("DELIVERED", NOW))
    names = [str(theirs.id), "theirs", "of-nobody"]
    assert await _look_up(world, "shipping", *names) == {"messages": [], "not_found": names}
    seen = await _look_up(world, "admin", *names)
    assert [one["sms_activity_id"] for one in seen["messages"]] == ["theirs", "of-nobody"]


async def test_a_thousand_at_once(world: World) -> None:
    messages = [await world.message(Status.QUEUED) for _ in range(30)]
    names = [*(str(one.id) for one in messages), *(str(uuid4()) for _ in range(970))]
    body = await _look_up(world, "billing", *names)
    assert [one["id"] for one in body["messages"]] == names[:30]
    assert body["not_found"] == names[30:]


async def test_none_at_all(world: World) -> None:
    assert await _look_up(world, "billing") == {"messages": [], "not_found": []}


async def test_no_text_does_any_harm(world: World) -> None:
    names = ["\x00", "\ud800", "😀", "x" * 10_000, "", " "]
    response = await world.as_app("billing").post(
        PATH, content=b'{"ids": ["\\u0000", "\\ud800", "\\ud83d\\ude00", "' + b"x" * 10_000
        + b'", "", " "]}'
    )  # fmt: skip
    assert response.status_code == 200
    assert len(response.json()["not_found"]) == len(names)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "ids"),
        ({"ids": "x"}, "ids"),
        ({"ids": None}, "ids"),
        ({"ids": ["x"] * 1_001}, "ids"),
        ({"ids": ["x", 3]}, "ids.1"),
        ({"ids": [["x"]]}, "ids.0"),
        ({"ids": [], "app": "billing"}, "app"),
    ],
)
async def test_bad_bodies_are_named(world: World, body: Any, field: str) -> None:
    assert field in faults(await world.as_app("billing").post(PATH, json=body))


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"NaN", b'{"ids": [NaN]}', b"[" * 100_000],
    ids=lambda body: repr(body[:16]),
)
async def test_what_is_not_json_is_refused(world: World, body: bytes) -> None:
    response = await world.as_app("billing").post(PATH, content=body)
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
