"""The rate limit of an API key."""

from __future__ import annotations

import pytest

from app.errors import TooManyRequests
from app.send.rates import KeyRates
from tests.send.clock import Clock
from tests.send.world import HELLO, World, faults


def retry_after(rates: KeyRates, key: str = "a", messages: int = 1) -> int:
    """Seconds to wait; 0 if it passed."""
    try:
        rates.take(key, messages)
    except TooManyRequests as error:
        return int(error.headers["Retry-After"])
    return 0


def test_no_limit() -> None:
    rates = KeyRates(None)
    assert [retry_after(rates, messages=1000) for _ in range(100)] == [0] * 100


def test_a_burst_of_one_second_and_then_the_rate() -> None:
    clock = Clock()
    rates = KeyRates(3, clock)
    assert [retry_after(rates) for _ in range(5)] == [0, 0, 0, 1, 1]
    clock.now += 0.34
    assert [retry_after(rates) for _ in range(2)] == [0, 1]
    clock.now += 3600
    assert [retry_after(rates) for _ in range(4)] == [0, 0, 0, 1]


def test_less_than_one_a_second() -> None:
    clock = Clock()
    rates = KeyRates(0.1, clock)
    assert [retry_after(rates) for _ in range(2)] == [0, 10]
    clock.now += 9
    assert retry_after(rates) == 1
    clock.now += 1
    assert retry_after(rates) == 0


def test_a_large_batch_passes_and_overdraws_the_bucket() -> None:
    clock = Clock()
    rates = KeyRates(100, clock)
    assert retry_after(rates, messages=1000) == 0
    assert retry_after(rates) == 10
    clock.now += 9.5
    assert retry_after(rates) == 0


def test_each_key_has_its_own_bucket() -> None:
    rates = KeyRates(1, Clock())
    assert [retry_after(rates, "a"), retry_after(rates, "a"), retry_after(rates, "b")] == [0, 1, 0]


@pytest.mark.asyncio(loop_scope="module")
async def test_over_http(sqlite_world: World) -> None:
    service = await sqlite_world.service(await sqlite_world.iovox(), key_rate=2)
    responses = [await service.send() for _ in range(5)]
    assert [response.status_code for response in responses[:2]] == [201, 201]
    refused = responses[-1]
    assert faults(refused, 429) == {}
    assert refused.json()["type"] == "urn:iovox-receipts:problem:too-many-requests"
    assert int(refused.headers["retry-after"]) == 1
    batch = await service.post("/v1/messages/batch", {"messages": [HELLO]})
    assert batch.status_code == 429
    looked_up = await service.client.get(f"/v1/messages/{responses[0].json()['id']}")
    assert looked_up.status_code == 200
    other = await service.key()
    assert (await service.send(**other)).status_code == 201
