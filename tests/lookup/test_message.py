"""One message by its id: whose it is, in which order its history comes, and when it is news."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import timedelta
from urllib.parse import quote
from uuid import uuid4

import pytest
from sqlalchemy import update

from app.lookup.export import COLUMNS, csv_lines
from app.lookup.responses import MessageSummary
from app.model.status import Status
from app.store.tables import api_keys
from tests.lookup.world import NOW, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

FINAL_OF_IOVOX = (Status.FAILED, Status.EXPIRED, Status.DELIVERED)
PRIVATE = {"id", "app", "reference", "origin", "destination", "message", "created_at"}


async def test_both_ids_name_it(world: World) -> None:
    message = await world.message(sms_activity_id="d454cfe0-a835-11e6-9852-d43d7ed6ce4c")
    by_ours = await world.as_app("billing").get(f"/v1/messages/{message.id}")
    by_iovox = await world.as_app("billing").get(
        f"/v1/messages/{by_ours.json()['sms_activity_id']}"
    )
    assert by_ours.status_code == by_iovox.status_code == 200
    assert by_ours.json() == by_iovox.json()
    assert by_ours.json()["id"] == str(message.id)


async def test_our_id_may_be_written_in_capitals(world: World) -> None:
    message = await world.message()
    response = await world.as_app("billing").get(f"/v1/messages/{str(message.id).upper()}")
    assert response.json()["id"] == str(message.id)


async def test_an_id_of_iovox_may_look_like_one_of_ours(world: World) -> None:
    name = "0193e0c4-6d2f-7c3a-9b1e-5f0a4c7d8e21"
    message = await world.message(sms_activity_id=name)
    response = await world.as_app("billing").get(f"/v1/messages/{name}")
    assert response.json()["id"] == str(message.id)


async def test_what_we_did_comes_first_and_then_the_receipts_in_order(world: World) -> None:
    earlier, later = NOW - timedelta(minutes=2), NOW - timedelta(minutes=1)
    message = await world.message(
        Status.DELIVERED,
        created_at=NOW - timedelta(seconds=30),  # by our clock, which is behind iovox's
        status_at=later,
        receipts=[
            (Status.BUFFERED, later),
            (Status.ACKNOWLEDGED, later),
            (Status.ACKNOWLEDGED, earlier),
        ],
    )
    body = (await world.as_app("billing").get(f"/v1/messages/{message.id}")).json()
    assert [(entry["source"], entry["status"]) for entry in body["history"]] == [
        ("service", "SUBMITTED"),
        ("iovox", "ACKNOWLEDGED"),
        ("iovox", "ACKNOWLEDGED"),
        ("iovox", "BUFFERED"),
        ("iovox", "DELIVERED"),
    ]
    assert body["status"] == "DELIVERED"
    assert body["status_at"] == later.isoformat().replace("+00:00", "Z")


async def test_a_refusal_says_why(world: World) -> None:
    message = await world.message(Status.REJECTED)
    body = (await world.as_app("billing").get(f"/v1/messages/{message.id}")).json()
    assert body["errors"] == [{"field": "destination", "message": "Destination Invalid"}]
    assert body["sms_activity_id"] is None
    assert body["history"][-1]["reasons"] == ["as the test says"]


@pytest.mark.parametrize("status", [Status.BUFFERED, *FINAL_OF_IOVOX])
async def test_a_call_flow_is_called_once_the_text_has_failed(world: World, status: Status) -> None:
    message = await world.message(status, c2c_failover_link_id="777")
    found = await world.as_app("billing").get(f"/v1/messages/{message.id}")
    called = status in (Status.FAILED, Status.EXPIRED)
    assert found.json()["failover"] == {
        "link_id": "777",
        "after": ["FAILED", "EXPIRED"],
        "called": called,
    }
    (line,) = csv.DictReader(
        io.StringIO(csv_lines([MessageSummary.model_validate(found.json())]).decode()), COLUMNS
    )
    assert line["failover"] == ("called" if called else "not called")


async def test_without_a_call_flow_there_is_no_failover(world: World) -> None:
    message = await world.message(Status.FAILED)
    found = await world.as_app("billing").get(f"/v1/messages/{message.id}")
    assert found.json()["failover"] is None


async def test_a_message_and_the_one_that_repeats_it_know_each_other(world: World) -> None:
    first = await world.message(Status.FAILED)
    second = await world.message(resend_of=first.id)
    ask = world.as_app("billing").get
    assert (await ask(f"/v1/messages/{first.id}")).json()["resent_as"] == [str(second.id)]
    assert (await ask(f"/v1/messages/{second.id}")).json()["resend_of"] == str(first.id)


@pytest.mark.parametrize("kind", ["ours", "iovox's"])
async def test_another_apps_message_does_not_exist(world: World, kind: str) -> None:
    message = await world.message(app="billing", sms_activity_id=f"of {kind}")
    name = message.id if kind == "ours" else f"of {kind}"
    there = await world.as_app("billing").get(f"/v1/messages/{name}")
    other = await world.as_app("shipping").get(f"/v1/messages/{name}")
    nothing = await world.as_app("shipping").get(f"/v1/messages/{uuid4()}")
    assert (there.status_code, other.status_code, nothing.status_code) == (200, 404, 404)
    assert other.json() == nothing.json(), "the caller is not told which"


async def test_what_only_receipts_tell_of_is_for_admins(world: World) -> None:
    await world.receipts("nobodys", ("DELIVERED", NOW))
    assert (await world.as_app("billing").get("/v1/messages/nobodys")).status_code == 404
    body = (await world.admin.get("/v1/messages/nobodys")).json()
    assert body["status"] == "DELIVERED"
    assert {body[name] for name in PRIVATE} == {None}
    assert [entry["status"] for entry in body["history"]] == ["DELIVERED"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("with/slash", id="slash"),
        pytest.param("with\na line break", id="line break"),
        pytest.param("with space", id="space"),
        pytest.param("ünïcødé-😀", id="not ASCII"),
        pytest.param("100%", id="percent"),
        pytest.param("?a=b&c#d", id="what URLs are made of"),
        pytest.param("x" * 255, id="longest"),
        pytest.param("0007", id="leading zeros"),
    ],
)
async def test_any_id_that_iovox_may_give_is_found(world: World, name: str) -> None:
    message = await world.message(sms_activity_id=name)
    path = f"/v1/messages/{quote(name, safe='')}"
    assert (await world.as_app("billing").get(path)).json()["id"] == str(message.id)


@pytest.mark.parametrize(
    "path",
    ["%00", "%FF", "%ED%A0%80", "x%00y", "%20", "..%2f..", "x" * 5_000, "%F0%9F%98%80" * 300],
    ids=lambda path: path[:16],
)
async def test_no_bytes_in_the_path_do_any_harm(world: World, path: str) -> None:
    response = await world.admin.get(f"/v1/messages/{path}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 401, id="no key"),
        pytest.param({"Authorization": "Bearer nonsense"}, 401, id="no key of ours"),
        pytest.param({"Authorization": "Basic eDp5"}, 401, id="not a bearer"),
        pytest.param({"Authorization": "Bearer \xff"}, 401, id="not ASCII"),
    ],
)
async def test_without_a_key_there_is_nothing(
    world: World, headers: dict[str, str], status: int
) -> None:
    message = await world.message()
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    for path in (f"/v1/messages/{message.id}", "/v1/messages", "/v1/stats"):
        response = await world.nobody.get(path, headers=sent)
        assert response.status_code == status
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/v1/messages/x", "/v1/messages", "/v1/stats"])
async def test_a_key_that_only_sends_reads_nothing(world: World, path: str) -> None:
    assert (await world.as_app("sender").get(path)).status_code == 403


async def test_a_key_that_is_revoked_reads_no_more(own_world: World) -> None:
    message = await own_world.message()
    ask = own_world.as_app("billing").get
    assert (await ask(f"/v1/messages/{message.id}")).status_code == 200
    async with own_world.service.runtime.database.write() as connection:
        mine = api_keys.c.app == "billing"
        await connection.execute(update(api_keys).where(mine).values(revoked_at=NOW))
    async with asyncio.timeout(1):
        while (await ask(f"/v1/messages/{message.id}")).status_code != 401:
            pass


async def test_an_answer_that_is_known_is_not_sent_again(world: World) -> None:
    message = await world.message(sms_activity_id="to be known")
    path = f"/v1/messages/{message.id}"
    ask = world.as_app("billing").get
    first = await ask(path)
    known = {"If-None-Match": first.headers["etag"]}
    again = await ask(path, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    await world.receipts("to be known", ("DELIVERED", NOW))
    news = await ask(path, headers=known)
    assert news.status_code == 200
    assert news.headers["etag"] != first.headers["etag"]
    assert news.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        pytest.param("{etag}", 304, id="the one"),
        pytest.param("W/{etag}", 304, id="weak: a GET compares weakly"),
        pytest.param('"other", {etag}', 304, id="among others"),
        pytest.param("*", 304, id="any"),
        pytest.param('"other"', 200, id="another"),
        pytest.param("nonsense", 200, id="no etag"),
        pytest.param("", 200, id="empty"),
    ],
)
async def test_if_none_match_takes_what_http_allows(world: World, header: str, status: int) -> None:
    message = await world.message()
    path = f"/v1/messages/{message.id}"
    etag = (await world.as_app("billing").get(path)).headers["etag"]
    known = {"If-None-Match": header.format(etag=etag)}
    assert (await world.as_app("billing").get(path, headers=known)).status_code == status


async def test_all_lines_of_if_none_match_count(world: World) -> None:
    message = await world.message()
    path = f"/v1/messages/{message.id}"
    etag = (await world.as_app("billing").get(path)).headers["etag"]
    for values, status in ((['"other"', etag], 304), (['"other"', '"third"'], 200)):
        lines = [("If-None-Match", value) for value in values]
        assert (await world.as_app("billing").get(path, headers=lines)).status_code == status


@pytest.mark.parametrize(
    ("created", "expiry", "status", "overdue"),
    [
        (timedelta(hours=71), None, Status.SUBMITTED, False),
        (timedelta(hours=73), None, Status.SUBMITTED, True),
        (timedelta(hours=73), None, Status.FAILED, False),
        (timedelta(minutes=4), 3, Status.BUFFERED, True),
        (timedelta(minutes=2), 60, Status.BUFFERED, False),
        (timedelta(hours=73), 10_000, Status.BUFFERED, False),
        (timedelta(hours=73), None, Status.UNCONFIRMED, True),
    ],
)
async def test_what_should_have_ended_is_overdue(
    world: World, created: timedelta, expiry: int | None, status: Status, *, overdue: bool
) -> None:
    message = await world.message(status, created_at=NOW - created, expiry=expiry)
    body = (await world.as_app("billing").get(f"/v1/messages/{message.id}")).json()
    assert body["overdue"] is overdue


async def test_both_a_success_and_a_failure_are_contradictory(world: World) -> None:
    message = await world.message(Status.DELIVERED, receipts=[(Status.FAILED, NOW)])
    body = (await world.as_app("billing").get(f"/v1/messages/{message.id}")).json()
    assert (body["status"], body["contradictory"], body["final"]) == ("DELIVERED", True, True)


@pytest.mark.parametrize("name", ["batch", "lookup", "x/resend"])
async def test_what_is_only_posted_to_is_no_message(world: World, name: str) -> None:
    response = await world.as_app("billing").get(f"/v1/messages/{name}")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


async def test_a_database_that_is_away_is_no_missing_message(own_world: World) -> None:
    await own_world.service.runtime.database.close()
    async with own_world.service.runtime.database.write() as connection:
        await connection.exec_driver_sql("drop table receipts")
    response = await own_world.as_app("billing").get(f"/v1/messages/{uuid4()}")
    assert response.status_code == 503
