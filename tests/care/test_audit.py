"""What is audited, how often and for whom; what is not; a deed stands or falls with its entry."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from app.errors import StoreUnavailable
from app.model.audit import Action, Actor
from app.model.status import Status
from app.store.audit import AuditStore
from tests.lookup.world import World, faults

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = timedelta(hours=1)


async def entries(world: World, **wanted: Any) -> list[dict[str, Any]]:
    answer = await world.admin.get("/v1/audit", params=wanted)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


@pytest_asyncio.fixture(loop_scope="module")
async def fresh_world(world: World) -> World:
    """The module's, with an audit that nothing has been written into."""
    await world.service.runtime.failures.flush()  # what was counted is not told later
    async with world.service.runtime.database.write() as connection:
        await connection.execute(text("delete from audit"))
    return world


async def test_one_entry_for_each_person_message_and_five_minutes(world: World) -> None:
    message = await world.message(Status.DELIVERED)
    for client in (world.as_app("support"), world.admin):
        for _ in range(3):
            assert (await client.get(f"/v1/messages/{message.id}")).status_code == 200
    found = await entries(world, what=str(message.id))
    assert sorted((one["app"], one["action"]) for one in found) == [
        ("admin", "message.look"),
        ("support", "message.look"),
    ]


async def test_the_next_window_has_an_entry_of_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = await world.message(Status.DELIVERED)
    await world.admin.get(f"/v1/messages/{message.id}")
    monkeypatch.setattr("app.record.audit.WINDOW", 299)  # other windows
    await world.admin.get(f"/v1/messages/{message.id}")
    assert len(await entries(world, what=str(message.id))) == 2


async def test_replicas_write_one_entry_together(world: World) -> None:
    store = AuditStore(world.service.runtime.database)
    actor = Actor("key:both")
    looks = [actor.did(Action.LOOK, "some message", once="the same") for _ in range(2)]
    await asyncio.gather(*(store.append([look]) for look in looks))
    assert len(await entries(world, who="key:both")) == 1


async def test_sends_receipts_and_reads_of_apps_leave_none(fresh_world: World) -> None:
    message = await fresh_world.message(Status.DELIVERED)
    app = fresh_world.as_app("billing")
    for path in (f"/v1/messages/{message.id}", "/v1/messages", "/v1/stats", "/v1/events"):
        assert (await app.get(path)).status_code == 200
    await app.post("/v1/messages/lookup", json={"ids": [str(message.id)]})
    sent = {"origin": "447700900001", "destination": "+447700900123", "message": "Hello"}
    answer = await fresh_world.as_app("sender").post(
        "/v1/messages", json=sent, headers={"Prefer": "respond-async"}
    )
    assert answer.status_code == 202
    assert await entries(fresh_world) == []


async def test_the_audit_costs_a_send_and_a_receipt_nothing(fresh_world: World) -> None:
    """Neither knows of its table: without it both go on, and people are shown nothing."""
    database = fresh_world.service.runtime.database
    async with database.write() as connection:
        await connection.execute(text("alter table audit rename to elsewhere"))
    message = await fresh_world.message(Status.DELIVERED)
    sent = {"origin": "447700900001", "destination": "+447700900123", "message": "Hello"}
    sender = fresh_world.as_app("sender")
    for headers in ({"Prefer": "respond-async"}, {"Idempotency-Key": "one"}):
        assert (await sender.post("/v1/messages", json=sent, headers=headers)).status_code == 202
    batch = {"messages": [sent, sent]}
    assert (await sender.post("/v1/messages/batch", json=batch)).status_code == 202
    found = await fresh_world.as_app("billing").get(f"/v1/messages/{message.id}")
    assert (found.status_code, found.json()["status"]) == (200, "DELIVERED")
    assert (await fresh_world.admin.get(f"/v1/messages/{message.id}")).status_code == 503
    async with database.write() as connection:
        await connection.execute(text("alter table elsewhere rename to audit"))


async def test_texts_revealed_are_told_message_by_message(own_world: World) -> None:
    messages = [await own_world.message(Status.DELIVERED) for _ in range(3)]
    support = own_world.as_app("support")
    ids = sorted(str(message.id) for message in messages)
    await support.get("/v1/messages")
    await support.get(f"/v1/messages/{ids[0]}")
    assert await entries(own_world, action=Action.REVEAL) == []
    await support.get(f"/v1/messages/{ids[0]}", params={"reveal": "text"})
    assert [one["what"] for one in await entries(own_world, action=Action.REVEAL)] == [ids[0]]
    await support.get("/v1/messages", params={"reveal": "text"})
    revealed = await entries(own_world, action=Action.REVEAL)
    assert sorted(one["what"] for one in revealed) == ids  # the first of them once


async def test_a_search_is_told_with_its_words(fresh_world: World) -> None:
    await fresh_world.message(Status.DELIVERED, destination="447700900123", reference="order-42")
    filters = {
        "destination": "+44 (0)7700 900-123",
        "reference": "order-42",
        "status": "DELIVERED,FAILED",
        "from": "2020-01-01",
    }
    for limit in ("1", "2"):  # pages of one search are one look
        await fresh_world.as_app("support").get("/v1/messages", params={**filters, "limit": limit})
    (search,) = await entries(fresh_world, action=Action.SEARCH)
    assert (search["destination"], search["reference"]) == ("447700900123", "order-42")
    assert search["details"] == {
        "statuses": ["DELIVERED", "FAILED"],
        "created_from": "2020-01-01T00:00:00+00:00",
    }


async def test_every_export_is_told(fresh_world: World) -> None:
    await fresh_world.message(Status.DELIVERED)
    support = fresh_world.as_app("support")
    for reveal in ({}, {"reveal": "text"}):
        csv = await support.get("/v1/messages", params=reveal, headers={"Accept": "text/csv"})
        assert csv.status_code == 200
    found = await entries(fresh_world, action=Action.EXPORT)
    assert [one["details"] for one in found] == [
        {"format": "text/csv", "revealed": True},
        {"format": "text/csv"},
    ]


async def test_failed_authentications_are_counted_by_address_and_minute(fresh_world: World) -> None:
    for _ in range(30):
        answer = await fresh_world.nobody.get(
            "/v1/messages", headers={"Authorization": "Bearer wrong"}
        )
        assert answer.status_code == 401
    await fresh_world.service.runtime.failures.flush()
    found = await entries(fresh_world, action=Action.FAILED_AUTHENTICATION)
    assert {(one["who"], one["address"]) for one in found} == {("nobody", "127.0.0.1")}
    assert sum(one["times"] for one in found) == 30
    assert len(found) <= 2  # a minute may have ended


async def test_what_the_database_did_not_take_is_counted_later(fresh_world: World) -> None:
    runtime = fresh_world.service.runtime
    failures = runtime.failures
    async with runtime.database.write() as connection:
        await connection.execute(text("alter table audit rename to elsewhere"))
    for _ in range(3):
        failures.count_unknown("192.0.2.1")
        await failures.flush()
    async with runtime.database.write() as connection:
        await connection.execute(text("alter table elsewhere rename to audit"))
    await failures.flush()
    (entry,) = await entries(fresh_world, action=Action.FAILED_AUTHENTICATION)
    assert entry["times"] == 3


async def test_what_a_key_may_not_do_is_told_at_once(fresh_world: World) -> None:
    assert (await fresh_world.as_app("support").get("/v1/audit")).status_code == 403
    (refused,) = await entries(fresh_world, action=Action.REFUSED)
    assert (refused["app"], refused["what"]) == ("support", "GET /v1/audit")


async def test_what_failed_is_not_told(fresh_world: World) -> None:
    message = await fresh_world.message(Status.DELIVERED)
    assert (await fresh_world.admin.delete(f"/v1/messages/{message.id}")).status_code == 409
    nothing = "0193e0c4-0000-7000-8000-000000000001"
    for method, path in (("PATCH", ""), ("DELETE", ""), ("POST", "/secret"), ("POST", "/test")):
        target = f"/v1/webhooks/{nothing}{path}"
        body = {"paused": True} if method == "PATCH" else None
        answer = await fresh_world.admin.request(method, target, json=body)
        assert answer.status_code == 404
    assert await entries(fresh_world) == []


async def test_a_deed_stands_or_falls_with_its_entry(own_world: World) -> None:
    """One transaction: what cannot be told is not done, and what cannot be told is not shown."""
    runtime = own_world.service.runtime
    queued = await own_world.message(Status.QUEUED, created_at=datetime.now(UTC) + LATER)
    runtime.permit.is_on = False  # it would take the new schema for a copy that was put back
    async with runtime.database.write() as connection:
        await connection.execute(text("alter table audit rename to elsewhere"))
    entry = Actor("key:x").did(Action.CANCEL, queued.id)
    with pytest.raises(StoreUnavailable):
        await runtime.messages.cancel(queued, datetime.now(UTC), entry=entry)
    assert (await own_world.as_app("billing").get(f"/v1/messages/{queued.id}")).json()[
        "status"
    ] == "QUEUED"
    assert (await own_world.admin.get(f"/v1/messages/{queued.id}")).status_code >= 500
    async with runtime.database.write() as connection:
        await connection.execute(text("alter table elsewhere rename to audit"))


async def test_pages_and_filters(own_world: World) -> None:
    ids = [str((await own_world.message(Status.DELIVERED)).id) for _ in range(5)]
    began = datetime.now(UTC)
    for one in ids:
        await own_world.admin.get(f"/v1/messages/{one}")
    await own_world.as_app("support").get("/v1/messages")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await own_world.admin.get("/v1/audit", params={"limit": 2, **cursor})).json()
        seen += [one["what"] for one in page["entries"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == [None, *reversed(ids)]
    newest = await entries(own_world, limit=1)
    assert len(await entries(own_world, who=newest[0]["who"])) == 1
    assert len(await entries(own_world, who="admin")) == 5
    assert len(await entries(own_world, **{"from": began.isoformat()})) == 6
    assert await entries(own_world, to=began.isoformat()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("action", "no such"), ("cursor", "x"), ("from", "yesterday"), ("limit", "0"), ("whom", "x")],
)
async def test_filters_that_are_none(world: World, name: str, value: str) -> None:
    assert set(faults(await world.admin.get("/v1/audit", params={name: value}))) == {name}
