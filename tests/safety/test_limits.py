"""What a stranger, or an app that goes wrong, is kept from; and what each is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import pytest_asyncio

from app.model.api_key import digest
from app.store.keys import KeyStore
from tests.send.world import SECRET, Service, World, to, until

LIMIT = 5
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(shared_url: str) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        world = World(shared_url, stack)
        yield await world.service(
            failed_logins=LIMIT,
            streams_per_key=2,
            waits_per_key=2,
            trusted_proxies="127.0.0.0/8",
        )


def stranger(address: str, key: str = "dlr_wrong") -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "X-Forwarded-For": address}


async def statuses(service: Service, headers: dict[str, str], count: int) -> list[int]:
    answers = [await service.client.get("/v1/messages", headers=headers) for _ in range(count)]
    return [answer.status_code for answer in answers]


async def test_wrong_keys_of_one_address_are_throttled(service: Service) -> None:
    assert await statuses(service, stranger("203.0.113.1"), LIMIT) == [401] * LIMIT
    answer = await service.client.get("/v1/messages", headers=stranger("203.0.113.1"))
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json()["type"].endswith("too-many-requests")
    assert await statuses(service, stranger("203.0.113.2"), 1) == [401]


async def test_who_was_valid_before_is_heard_from_the_same_address(service: Service) -> None:
    good = await service.key() | {"X-Forwarded-For": "203.0.113.3"}
    assert await statuses(service, good, 1) == [200]
    assert (await statuses(service, stranger("203.0.113.3"), LIMIT + 1))[-1] == 429
    assert await statuses(service, good, 3) == [200] * 3


async def test_the_addresses_of_one_ipv6_host_count_together(service: Service) -> None:
    found = []
    for number in range(LIMIT + 1):
        found += await statuses(service, stranger(f"2001:db8::{number:x}"), 1)
    assert found == [401] * LIMIT + [429]
    assert await statuses(service, stranger("2001:db8:0:1::1"), 1) == [401]


async def test_no_key_at_all_is_no_failure(service: Service) -> None:
    nobody = {"Authorization": "", "X-Forwarded-For": "203.0.113.4"}
    assert await statuses(service, nobody, LIMIT * 3) == [401] * LIMIT * 3


async def test_receipts_know_no_limit(service: Service) -> None:
    await statuses(service, stranger("203.0.113.5"), LIMIT + 1)
    for secret, expected in [("wrong", 401), (SECRET, 200)]:
        for _ in range(LIMIT * 3):
            answer = await service.client.post(
                "/dlr",
                json={"sms_activity_id": "an-id", "status": "DELIVERED"},
                headers={"X-Secret": secret, "X-Forwarded-For": "203.0.113.5"},
            )
            assert answer.status_code == expected


async def test_a_key_has_so_many_streams(service: Service) -> None:
    key, other = await service.key(), await service.key()
    url = "/v1/events/stream"
    async with (
        service.client.stream("GET", url, headers=key) as first,
        service.client.stream("GET", url, headers=key) as second,
    ):
        assert (first.status_code, second.status_code) == (200, 200)
        refused = await service.client.get(url, headers=key)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        async with service.client.stream("GET", url, headers=other) as others:
            assert others.status_code == 200
    for _ in range(100):
        async with service.client.stream("GET", url, headers=key) as again:
            if again.status_code == 200:
                return
        await asyncio.sleep(0.05)
    pytest.fail("a stream that ended still counts")


async def test_a_key_has_so_many_waits(service: Service) -> None:
    key = await service.key()
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()  # an attempt would end the waits
    sent = await service.post("/v1/messages", {**to("105"), "send_at": tomorrow}, **key)
    path = f"/v1/messages/{sent.json()['id']}"
    waiting = [
        asyncio.create_task(service.client.get(f"{path}?wait=30", headers=key)) for _ in range(2)
    ]

    async def both_wait() -> bool:
        return len(service.runtime.status_waiters._waiting) == 2

    await until(both_wait, "both to wait")
    assert not any(task.done() for task in waiting)
    refused = await service.client.get(f"{path}?wait=2", headers=key)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert (await service.client.get(path, headers=key)).status_code == 200
    assert (await service.client.delete(path, headers=key)).status_code == 200
    assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 200]
    assert (await service.client.get(f"{path}?wait=1", headers=key)).status_code == 200


async def expiring(service: Service, expires_at: datetime | None) -> tuple[str, dict[str, str]]:
    key_id, secret = uuid4().hex[:8], uuid4().hex
    await KeyStore(service.runtime.database).add(
        key_id=key_id,
        app="billing",
        digest=digest(secret),
        scopes=frozenset({"read"}),
        expires_at=expires_at,
    )
    return key_id, {"Authorization": f"Bearer {secret}", "X-Forwarded-For": key_id}


async def test_a_key_ends_when_it_expires(service: Service) -> None:
    key_id, key = await expiring(service, datetime.now(UTC) + timedelta(seconds=1))
    assert await statuses(service, key, 1) == [200]
    assert await service.runtime.keys.valid({key_id}) == {key_id}
    await asyncio.sleep(1.2)
    assert await statuses(service, key, 1) == [401]
    assert await service.runtime.keys.valid({key_id}) == set()


async def test_when_a_key_was_last_used_is_known(service: Service) -> None:
    key_id, key = await expiring(service, None)

    async def last() -> datetime | None:
        return {key.id: key.last_used_at for key in await service.runtime.keys.all()}[key_id]

    assert await last() is None
    await statuses(service, key, 3)
    await service.runtime.authenticator.note_used()
    used = await last()
    assert used is not None
    assert abs(datetime.now(UTC) - used) < timedelta(seconds=10)
    await statuses(service, key, 3)
    await service.runtime.authenticator.note_used()
    assert await last() == used  # not twice a minute


async def test_answers_keep_browsers_from_more(service: Service) -> None:
    key = await service.key("billing", "read", "webhooks")
    for path in (
        "/healthz",
        "/readyz",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/v1/messages",
        "/no",
    ):
        answer = await service.client.get(path, headers=key)
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        assert answer.headers["Referrer-Policy"] == "no-referrer", path
    policy = (await service.client.get("/docs")).headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    body = {"url": "https://example.com/hook"}
    made = await service.client.post("/v1/webhooks", json=body, headers=key)
    assert made.status_code == 201, made.text
    path = f"/v1/webhooks/{made.json()['id']}"
    anew = await service.client.post(f"{path}/secret", headers=key)
    assert (made.headers["Cache-Control"], anew.headers["Cache-Control"]) == ("no-store",) * 2
    assert (await service.client.delete(path, headers=key)).status_code == 204
