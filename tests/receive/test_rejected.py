"""What /dlr could not understand: listed and put through again by an admin, over the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

import httpx
import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from app.errors import StoreRefused
from app.model.audit import Actor, Entry
from app.model.receipt import Arrival, Receipt, Rejection
from app.receive.rejected import replay
from app.store.engine import Database
from app.store.receipts import ReceiptStore
from tests.receive.arrivals import START, body
from tests.receive.serving import Service, bearer

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/receipts/rejected"
GARBAGE = b"\xff\x00 {no JSON"


def rejection(content: bytes, reason: str = "it was refused") -> Rejection:
    """A call that once was not understood; ids in the order of making."""
    return Rejection(Arrival(uuid7(), START, content), 422, reason)


@pytest_asyncio.fixture(loop_scope="module")
async def admin(service: Service, database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client(bearer(service.key("admin"))) as client:
        yield client


@pytest.fixture
def store(database: Database) -> ReceiptStore:
    return ReceiptStore(database)


async def test_a_call_that_was_not_understood_is_listed_word_for_word(
    admin: httpx.AsyncClient, iovox: httpx.AsyncClient
) -> None:
    refused = await iovox.post("/dlr", content=GARBAGE)
    assert refused.status_code == 400
    listed = (await admin.get(PATH)).json()
    (kept,) = listed["rejected"]
    assert kept["id"] in refused.json()["detail"]
    assert kept["body"] == "\\xff\x00 {no JSON"
    assert kept["reason"].startswith("The body is not JSON")
    assert kept["received_at"].endswith("Z")
    assert (kept["replayed_at"], listed["next"]) == (None, None)


async def test_pages_are_in_the_order_of_arrival_and_lose_nothing(
    admin: httpx.AsyncClient, store: ReceiptStore
) -> None:
    calls = [rejection(f"{number}".encode()) for number in range(7)]
    await store.add([], calls)
    found: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(4):
        page = (await admin.get(PATH, params={"limit": 2, **cursor})).json()
        found += [kept["body"] for kept in page["rejected"]]
        cursor = {"cursor": page["next"]} if page["next"] else {}
    assert found == [str(number) for number in range(7)]
    assert cursor == {}


async def test_a_replay_stores_what_is_understood_now_and_leaves_the_rest(
    admin: httpx.AsyncClient, store: ReceiptStore
) -> None:
    await store.add([], [rejection(each) for each in (GARBAGE, body("mended"), b"[]")])
    assert (await admin.post(f"{PATH}/replay")).json() == {"tried": 3, "stored": 1}
    left = (await admin.get(PATH)).json()["rejected"]
    assert [kept["body"] for kept in left] == ["\\xff\x00 {no JSON", "[]"]
    every = (await admin.get(PATH, params={"replayed": "true"})).json()["rejected"]
    assert [kept["replayed_at"] is not None for kept in every] == [False, True, False]
    history = (await admin.get("/v1/messages/mended")).json()["history"]
    assert [step["status"] for step in history] == ["DELIVERED"]
    assert history[0]["received_at"] == "2026-11-22T09:00:00.123456Z", "when it first came"


async def test_replaying_twice_counts_nothing_twice(
    admin: httpx.AsyncClient, store: ReceiptStore
) -> None:
    await store.add([], [rejection(body("twice"))])
    assert (await admin.post(f"{PATH}/replay")).json() == {"tried": 1, "stored": 1}
    assert (await admin.post(f"{PATH}/replay")).json() == {"tried": 0, "stored": 0}
    (step,) = (await admin.get("/v1/messages/twice")).json()["history"]
    assert step["times_seen"] == 1


async def test_a_limit_takes_the_oldest(admin: httpx.AsyncClient, store: ReceiptStore) -> None:
    await store.add([], [rejection(body(f"limited-{number}")) for number in range(3)])
    answer = await admin.post(f"{PATH}/replay", params={"limit": 2})
    assert answer.json() == {"tried": 2, "stored": 2}
    (left,) = (await admin.get(PATH)).json()["rejected"]
    assert "limited-2" in left["body"]


@pytest.mark.parametrize(
    ("method", "query", "field"),
    [
        ("GET", "limit=0", "limit"),
        ("GET", "limit=501", "limit"),
        ("GET", "limit=many", "limit"),
        ("GET", "cursor=yesterday", "cursor"),
        ("GET", "cursor=%00", "cursor"),
        ("GET", "replayed=perhaps", "replayed"),
        ("GET", "status=400", "status"),
        ("POST", "limit=0", "limit"),
        ("POST", "limit=10001", "limit"),
        ("POST", "id=1", "id"),
    ],
)
async def test_what_is_not_known_is_named(
    admin: httpx.AsyncClient, method: str, query: str, field: str
) -> None:
    path = PATH if method == "GET" else f"{PATH}/replay"
    answer = await admin.request(method, f"{path}?{query}")
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]


async def test_it_is_for_admins(service: Service) -> None:
    async with service.client(bearer(service.key("read", "send"))) as client:
        assert (await client.get(PATH)).status_code == 403
        assert (await client.post(f"{PATH}/replay")).status_code == 403


OPERATOR = Actor("os:someone@here")


class Refusing(ReceiptStore):
    """Will not have some receipts; notes how they are asked for."""

    async def replayed(self, receipt: Receipt, at: datetime, *, entry: Entry | None = None) -> None:
        if receipt.sms_activity_id.startswith("poison"):
            raise StoreRefused("still poison")
        await super().replayed(receipt, at, entry=entry)


async def test_one_that_the_database_still_refuses_holds_up_no_other(
    database: Database, store: ReceiptStore
) -> None:
    names = ["poison-1", "good-1", "poison-2", "good-2"]
    await store.add([], [rejection(body(name)) for name in names])
    done = await replay(Refusing(database), limit=10, actor=OPERATOR)
    assert (done.tried, done.stored) == (4, 2)
    left = await store.rejected(limit=10)
    assert [b"poison" in kept.arrival.body for kept in left] == [True, True]
    again = await replay(store, limit=10, actor=OPERATOR)
    assert (again.tried, again.stored) == (2, 2)


async def test_more_than_a_page_is_gone_through_though_none_is_understood(
    store: ReceiptStore,
) -> None:
    await store.add([], [rejection(b"no JSON") for _ in range(1_100)])
    await store.add([], [rejection(body("behind them all"))])
    done = await replay(store, limit=10_000, actor=OPERATOR)
    assert (done.tried, done.stored) == (1_101, 1)
