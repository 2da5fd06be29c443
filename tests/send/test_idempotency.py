"""Idempotency keys: one key and one body make one text, also concurrently and across replicas."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text, update

from app.store.idempotency import IdempotencyKey, IdempotencyStore
from app.store.tables import idempotency_keys
from tests.send.world import ACCEPTED, HELLO, LOST, REFUSED, Iovox, Service, World, faults, to

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def key() -> str:
    return f"key-{uuid4()}"


def assert_replayed(first: httpx.Response, again: httpx.Response) -> None:
    """The second response is the first one, with the header of a replay."""
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert again.status_code == first.status_code
    assert again.headers.get("location") == first.headers.get("location")
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.json() == first.json()


SOON = (datetime.now(UTC) + timedelta(days=1)).isoformat()
FIRST: list[tuple[str, dict[str, Any], int]] = [
    ("accepted", to(ACCEPTED, message="It\u2019s me"), 201),
    ("refused by iovox", to(REFUSED), 422),
    ("unconfirmed", to(LOST), 202),
    ("tried and queued", to("109"), 202),
    ("scheduled", to(ACCEPTED, send_at=SOON), 202),
]


@pytest.mark.parametrize(("fields", "status"), [c[1:] for c in FIRST], ids=[c[0] for c in FIRST])
async def test_the_first_response_is_replayed(
    service: Service, iovox: Iovox, key: str, fields: dict[str, Any], status: int
) -> None:
    await iovox.behave(receipt_delay=3)
    first = await service.send(fields, idempotency_key=key)
    assert first.status_code == status, first.text
    assert_replayed(first, await service.send(fields, idempotency_key=key))
    # Also when its status has changed, and with a quoted key, as the draft writes it.
    await service.client.delete(first.headers["location"])
    await asyncio.sleep(1.2 if status == 202 else 0)
    assert_replayed(first, await service.send(fields, idempotency_key=f'"{key}"'))
    assert max((await iovox.counts())["by_message_id"].values(), default=0) <= 1
    assert sum((await service.states()).values()) == 1


async def test_another_body_is_refused(service: Service, key: str) -> None:
    await service.send(idempotency_key=key)
    other = await service.send({**HELLO, "message": "Another text"}, idempotency_key=key)
    assert faults(other).keys() == {"Idempotency-Key"}
    batch = await service.post("/v1/messages/batch", {"messages": [HELLO]}, idempotency_key=key)
    assert faults(batch).keys() == {"Idempotency-Key"}
    assert sum((await service.states()).values()) == 1


async def test_the_order_of_fields_does_not_matter(service: Service, key: str) -> None:
    first = await service.send(HELLO, idempotency_key=key)
    assert_replayed(first, await service.send(dict(reversed(HELLO.items())), idempotency_key=key))


async def test_keys_belong_to_their_app(service: Service, key: str) -> None:
    first = await service.send(idempotency_key=key)
    other = await service.send(idempotency_key=key, **await service.key("another app"))
    assert other.status_code == 201
    assert other.json()["id"] != first.json()["id"]
    rotated = await service.send(idempotency_key=key, **await service.key(service.app))
    assert_replayed(first, rotated)


async def test_an_invalid_request_does_not_use_its_key(service: Service, key: str) -> None:
    assert faults(await service.send({**HELLO, "expiry": 0}, idempotency_key=key))
    assert (await service.send(idempotency_key=key)).status_code == 201


@pytest.mark.parametrize("bad", ["a b", "", '""', "x" * 256, "a\tb", "caf\u00e9"])
async def test_invalid_keys(service: Service, bad: str) -> None:
    named = [(b"Idempotency-Key", bad.encode("latin-1"))]
    response = await service.client.post("/v1/messages", json=HELLO, headers=named)
    assert "visible ASCII" in faults(response)["Idempotency-Key"]


@pytest.mark.parametrize("path", ["", "/batch", "/{id}/resend"])
async def test_a_repeated_header_is_refused(service: Service, key: str, path: str) -> None:
    sent = (await service.send()).json()
    named = [("Idempotency-Key", key), ("Idempotency-Key", f"{key}-2")]
    body: object = {"": HELLO, "/batch": {"messages": [HELLO]}}.get(path, {})
    target = "/v1/messages" + path.replace("{id}", sent["id"])
    response = await service.client.post(target, json=body, headers=named)
    assert "more than once" in faults(response)["Idempotency-Key"]


async def test_a_repeated_header_is_named_whatever_the_body_is(service: Service, key: str) -> None:
    named = [("Idempotency-Key", key), ("Idempotency-Key", key)]
    response = await service.client.post("/v1/messages", json={}, headers=named)
    assert "more than once" in faults(response)["Idempotency-Key"]


async def test_while_the_first_is_in_flight(service: Service, iovox: Iovox, key: str) -> None:
    await iovox.behave(answer_delay=0.6)
    first = asyncio.create_task(service.send(idempotency_key=key))
    await asyncio.sleep(0.3)
    second = await service.send(idempotency_key=key)
    assert faults(second, 409) == {}
    assert second.headers["retry-after"] == "1"
    assert_replayed(await first, await service.send(idempotency_key=key))
    assert (await iovox.counts())["accepted"] == 1


async def test_fifty_concurrent_requests_make_one_text(
    service: Service, iovox: Iovox, key: str
) -> None:
    await iovox.behave(answer_delay=0.1)
    responses = await asyncio.gather(*(service.send(idempotency_key=key) for _ in range(50)))
    statuses = [response.status_code for response in responses]
    assert set(statuses) <= {201, 409}
    assert (
        len({response.json()["id"] for response in responses if response.status_code == 201}) == 1
    )
    assert (await iovox.counts())["accepted"] == 1
    assert await service.states() == {"SUBMITTED": 1}


async def test_fifty_concurrent_requests_with_two_bodies_make_one_text(
    service: Service, iovox: Iovox, key: str
) -> None:
    bodies = [{**HELLO, "message": f"text {number % 2}"} for number in range(50)]
    responses = await asyncio.gather(*(service.send(body, idempotency_key=key) for body in bodies))
    assert {response.status_code for response in responses} <= {201, 409, 422}
    assert [response.status_code for response in responses].count(422) == 25
    assert (await iovox.counts())["accepted"] == 1


async def test_a_batch(service: Service, iovox: Iovox, key: str) -> None:
    body = {"messages": [to(ACCEPTED), to(ACCEPTED, expiry=0), to(ACCEPTED)]}
    posts = [service.post("/v1/messages/batch", body, idempotency_key=key) for _ in range(10)]
    responses = await asyncio.gather(*posts)
    (first,) = [
        response for response in responses if "idempotency-replayed" not in response.headers
    ]
    for response in responses:
        assert response.status_code == 202
        assert response.content == first.content
    for item in first.json()["messages"]:
        if item["id"]:
            await service.becomes(item["id"], "DELIVERED")
    assert (await iovox.counts())["accepted"] == 2


async def test_a_resend(service: Service, iovox: Iovox, key: str) -> None:
    old = (await service.send()).json()["id"]
    first = await service.post(f"/v1/messages/{old}/resend", idempotency_key=key)
    assert first.status_code == 201
    assert_replayed(first, await service.post(f"/v1/messages/{old}/resend", idempotency_key=key))
    another = (await service.send()).json()["id"]
    assert faults(await service.post(f"/v1/messages/{another}/resend", idempotency_key=key))
    assert (await iovox.counts())["accepted"] == 3


async def test_a_key_is_forgotten_after_a_day(service: Service, key: str) -> None:
    first = await service.send(idempotency_key=key)
    database = service.runtime.database
    for age, status in ((timedelta(hours=23.9), 422), (timedelta(hours=24.1), 201)):
        async with database.write() as connection:
            older = update(idempotency_keys).where(idempotency_keys.c.key == key)
            await connection.execute(older.values(created_at=datetime.now(UTC) - age))
        response = await service.send({**HELLO, "message": "another"}, idempotency_key=key)
        assert response.status_code == status
    assert response.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("path", ["", "/batch"])
async def test_a_repetition_marks_the_claim(service: Service, key: str, path: str) -> None:
    later = to(ACCEPTED, send_at=SOON)
    body = {"messages": [later]} if path else later
    keys = IdempotencyStore(service.runtime.database)
    for repeated in (False, True, True):
        response = await service.post(f"/v1/messages{path}", body, idempotency_key=key)
        assert response.status_code == 202
        used = await keys.find(IdempotencyKey(service.app, key, b""), now=datetime.now(UTC))
        assert used is not None
        assert used.repeated is repeated


async def test_old_keys_are_deleted_a_bounded_number_at_a_time(service: Service) -> None:
    database = service.runtime.database
    keys = IdempotencyStore(database)
    for number in range(5):
        await service.send(idempotency_key=f"{service.app}-{number}")
    async with database.write() as connection:
        mine = idempotency_keys.c.app == service.app
        ages = [timedelta(hours=25)] * 4 + [timedelta(hours=23)]
        for number, age in enumerate(ages):
            one = mine & (idempotency_keys.c.key == f"{service.app}-{number}")
            created_at = datetime.now(UTC) - age
            await connection.execute(
                update(idempotency_keys).where(one).values(created_at=created_at)
            )
    assert [await keys.delete_expired(now=datetime.now(UTC), limit=3) for _ in range(3)] == [
        3,
        1,
        0,
    ]
    count = text("select count(*) from idempotency_keys where app = :app")
    async with database.read() as connection:
        assert (await connection.execute(count, {"app": service.app})).scalar() == 1


async def test_across_replicas_and_restarts(shared_url: str, key: str) -> None:
    fields = to(ACCEPTED)
    async with AsyncExitStack() as stack:
        world = World(shared_url, stack)
        iovox = await world.iovox(answer_delay=0.1)
        one, other = await world.service(iovox), await world.service(iovox)
        sends = [replica.send(fields, idempotency_key=key) for replica in (one, other) * 10]
        responses = await asyncio.gather(*sends)
        assert {response.status_code for response in responses} <= {201, 409}
        first = next(response for response in responses if response.status_code == 201)
        assert (await iovox.counts())["accepted"] == 1
    async with AsyncExitStack() as stack:
        restarted = await World(shared_url, stack).service()
        again = await restarted.send(fields, idempotency_key=key)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.json() == first.json()
