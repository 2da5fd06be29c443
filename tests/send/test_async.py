"""`Prefer: respond-async`: the message is queued, and its caller does not wait for iovox."""

from __future__ import annotations

import time

import httpx
import pytest

from app.send.preferences import prefers_async
from tests.send.world import ACCEPTED, HELLO, LOST, REFUSED, Iovox, Service, World, faults, to

pytestmark = pytest.mark.asyncio(loop_scope="module")
ASYNC = {"prefer": "respond-async"}
APPLIED = "preference-applied"


async def test_it_is_answered_at_once_and_sent(service: Service, iovox: Iovox) -> None:
    await iovox.behave(answer_delay=1.4)
    asked = time.monotonic()
    response = await service.send(to(ACCEPTED), **ASYNC)
    assert time.monotonic() - asked < 1.3
    body = response.json()
    assert (response.status_code, body["status"], body["sms_activity_id"]) == (202, "QUEUED", None)
    assert response.headers[APPLIED] == "respond-async"
    assert response.headers["location"] == f"/v1/messages/{body['id']}"
    await service.becomes(body["id"], "DELIVERED")
    history = (await service.look(body["id"]))["history"]
    assert [step["status"] for step in history][:2] == ["QUEUED", "SUBMITTED"]
    assert (await iovox.counts())["by_message_id"] == {body["id"]: 1}


async def test_what_comes_of_it_is_looked_up(service: Service, iovox: Iovox) -> None:
    await iovox.behave(receipts=False)
    for ending, status in ((REFUSED, "REJECTED"), (LOST, "UNCONFIRMED")):
        body = (await service.send(to(ending), **ASYNC)).json()
        assert body["status"] == "QUEUED"
        await service.becomes(body["id"], status)


async def test_with_an_idempotency_key_it_is_one_text(service: Service, iovox: Iovox) -> None:
    """Whichever of the two requests has the preference."""
    for first, second in ((ASYNC, ASYNC), (ASYNC, {}), ({}, ASYNC)):
        key = f"{len(first)}{len(second)}"
        one = await service.send(HELLO, idempotency_key=key, **first)
        two = await service.send(HELLO, idempotency_key=key, **second)
        assert two.headers["idempotency-replayed"] == "true"
        assert (one.status_code, one.json()) == (two.status_code, two.json())
        assert one.status_code == (202 if first else 201)
        assert (APPLIED in two.headers) == (bool(first) and bool(second))
        await service.becomes(one.json()["id"], "DELIVERED")
    assert set((await iovox.counts())["by_message_id"].values()) == {1}


async def test_a_fault_is_refused_as_ever(service: Service) -> None:
    refused = await service.send({**HELLO, "message": ""}, **ASYNC)
    assert set(faults(refused)) == {"message"}
    assert APPLIED not in refused.headers
    assert await service.states() == {}


async def test_a_rate_counts_it(sqlite_world: World) -> None:
    service = await sqlite_world.service(await sqlite_world.iovox(), key_rate=1)
    answers = [(await service.send(HELLO, **ASYNC)).status_code for _ in range(3)]
    assert 202 in answers
    assert 429 in answers


async def test_a_scheduled_one_keeps_its_time(service: Service) -> None:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    body = (await service.send(to(ACCEPTED, send_at=at), **ASYNC)).json()
    found = await service.look(body["id"])
    assert (found["status"], found["send_at"]) == ("QUEUED", at)


async def test_in_a_line_of_its_own(service: Service) -> None:
    lines = [("Prefer", "respond-async"), ("Prefer", "handling=lenient")]
    response: httpx.Response = await service.client.post("/v1/messages", json=HELLO, headers=lines)
    assert response.status_code == 202
    assert response.headers[APPLIED] == "respond-async"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("respond-async", True),
        ("Respond-Async", True),
        ("respond-async, wait=10", True),
        ("wait=10 , respond-async", True),
        ("respond-async; because=busy", True),
        ("handling=lenient", False),
        ("respond-asynchronously", False),
        ('note="x", return=minimal', False),
        ("", False),
        (",;,", False),
    ],
)
async def test_the_preference_is_read_as_the_rfc_says(line: str, wanted: bool) -> None:
    assert prefers_async([line]) is wanted
