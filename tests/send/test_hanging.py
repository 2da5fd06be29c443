"""An iovox that hangs, or answers what tells nothing: few messages lose their certainty to it."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from app.send.breaker import UNKNOWN_TO_OPEN
from tests.iovox.scripted import ACCEPTED, ACTIVITY_ID, Act, Scripted, http, scripted
from tests.send.world import Service, World, until
from tests.support.long import cases

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def hang(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def accept(writer: asyncio.StreamWriter) -> None:
    writer.write(http(201, ACCEPTED.replace(ACTIVITY_ID, str(uuid4())), Connection="close"))
    await writer.drain()


ANSWERS = pytest.mark.parametrize(
    "answer",
    [
        pytest.param(hang, id="it hangs"),
        *cases(
            pytest.param(http(502), id="502"),
            pytest.param(http(504, "<html>Gateway Timeout</html>"), id="504"),
        ),
    ],
)
"""502 and 504 are one outcome: tests/iovox/test_outcome.py."""


@pytest_asyncio.fixture(loop_scope="module")
async def iovox() -> AsyncIterator[Scripted]:
    async with scripted() as iovox:
        yield iovox


def requests_by_message(iovox: Scripted) -> Counter[str]:
    """How often each of our ids was on the wire."""
    found = [re.search(r"X-Message-Id: ([0-9a-f-]{36})", body.decode()) for body in iovox.bodies]
    return Counter(match[1] for match in found if match)


async def becomes_sent(service: Service, *, unconfirmed: int, submitted: int) -> None:
    service.runtime.submitter._breaker.release_probe()  # as if five seconds had passed

    async def sent() -> bool:
        states = await service.states()
        return states == {"UNCONFIRMED": unconfirmed, "SUBMITTED": submitted}

    await until(sent, "what was queued to be sent", patience=20)


@ANSWERS
async def test_one_after_the_other_five_lose_their_certainty(
    sqlite_world: World, iovox: Scripted, answer: bytes | Act
) -> None:
    iovox.answer = answer
    service = await sqlite_world.service(iovox.url, iovox_read_timeout=0.2)
    statuses = [(await service.send()).json()["status"] for _ in range(15)]
    assert statuses == ["UNCONFIRMED"] * UNKNOWN_TO_OPEN + ["QUEUED"] * 10
    iovox.answer = accept
    await becomes_sent(service, unconfirmed=5, submitted=10)
    assert set(requests_by_message(iovox).values()) == {1}
    assert len(iovox.bodies) == 15


@ANSWERS
async def test_of_many_at_once_only_what_was_on_the_wire_does(
    sqlite_world: World, iovox: Scripted, answer: bytes | Act
) -> None:
    """At most one for each connection, and four that had failed before."""
    iovox.answer = answer
    service = await sqlite_world.service(iovox.url, iovox_read_timeout=0.5, iovox_max_connections=8)
    responses = await asyncio.gather(*(service.send() for _ in range(60)))
    statuses = Counter(response.json()["status"] for response in responses)
    assert set(statuses) == {"UNCONFIRMED", "QUEUED"}
    assert UNKNOWN_TO_OPEN <= statuses["UNCONFIRMED"] <= 8 + UNKNOWN_TO_OPEN - 1
    iovox.answer = accept
    await becomes_sent(service, unconfirmed=statuses["UNCONFIRMED"], submitted=statuses["QUEUED"])
    assert set(requests_by_message(iovox).values()) == {1}


async def test_a_probe_that_hangs_costs_one_message(sqlite_world: World, iovox: Scripted) -> None:
    iovox.answer = http(502)
    service = await sqlite_world.service(iovox.url, iovox_read_timeout=2)
    breaker = service.runtime.submitter._breaker
    breaker._clock = lambda: time.monotonic() * 5  # OPEN_FOR takes a second
    breaker._probe_patience *= 5
    for _ in range(UNKNOWN_TO_OPEN + 3):
        await service.send()
    iovox.answer = hang
    await until_requests(iovox, 6)
    await asyncio.sleep(1.5)
    assert len(iovox.bodies) == 6
    iovox.answer = accept
    await until_requests(iovox, 8)
    await becomes_sent(service, unconfirmed=6, submitted=2)


async def until_requests(iovox: Scripted, count: int) -> None:
    async def came() -> bool:
        return len(iovox.bodies) >= count

    await until(came, f"{count} requests", patience=25)
