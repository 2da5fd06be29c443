"""Messages that were surely not sent are retried until their deadline."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from app.errors import NotSent
from app.send import outcomes
from app.send.breaker import FAILURES_TO_OPEN
from app.store.tables import messages
from tests.iovox.scripted import Scripted, errors, http
from tests.iovox.test_xml import nodes
from tests.send.world import ACCEPTED, HELLO, LOST, UNAUTHORIZED, Iovox, Service, World, to, until
from tests.support.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")


def accepted() -> bytes:
    return http(201, f"<response><sms_activity_id>{uuid4()}</sms_activity_id></response>")


LATER = [
    ("503", http(503)),
    ("429", http(429)),
    ("403", http(403)),
    ("500 in iovox's words", http(500, errors((500, "Internal Server Error")))),
]


async def test_the_first_retry_comes_within_a_second_and_the_history_shows_each(
    scripted_service: Service, script: Scripted
) -> None:
    for _, refusal in LATER:
        script.answer = refusal
        script.bodies.clear()
        body = (await scripted_service.send()).json()
        assert body["status"] == "QUEUED"
        script.answer = accepted()
        started = time.monotonic()
        await scripted_service.becomes(body["id"], "SUBMITTED")
        assert time.monotonic() - started < 2
        assert len(script.bodies) == 2
        history = (await scripted_service.look(body["id"]))["history"]
        assert [step["status"] for step in history] == ["QUEUED", "SUBMITTED"]
        assert history[0]["reasons"] == body["reasons"] != []


async def test_500_once(service: Service, iovox: Iovox) -> None:
    """Scenario 09."""
    body = (await service.send(to("109"))).json()
    assert body["status"] == "QUEUED"
    await service.becomes(body["id"], "DELIVERED")
    counts = await iovox.counts()
    assert counts["attempts_by_message_id"] == {body["id"]: 2}
    assert counts["by_message_id"] == {body["id"]: 1}


async def test_retry_after_is_honoured(scripted_service: Service, script: Scripted) -> None:
    script.answer = http(503, Retry_After="2")
    body = (await scripted_service.send()).json()
    script.answer = accepted()
    started = time.monotonic()
    await scripted_service.becomes(body["id"], "SUBMITTED")
    assert 1.9 < time.monotonic() - started < 4


async def test_a_retry_asks_for_the_minutes_that_remain(
    scripted_service: Service, script: Scripted
) -> None:
    script.answer = http(503)
    body = (await scripted_service.send({**HELLO, "expiry": 10})).json()
    # As if it had been retried for six and a half minutes.
    earlier = datetime.now(UTC) - timedelta(minutes=6.5)
    async with scripted_service.runtime.database.write() as connection:
        mine = update(messages).where(messages.c.id == UUID(body["id"]))
        await connection.execute(mine.values(created_at=earlier))
    script.answer = accepted()
    await scripted_service.becomes(body["id"], "SUBMITTED")
    asked = [dict(nodes(body))["expiry"] for body in script.bodies]
    assert (asked[0], asked[-1]) == ("10", "4")


async def test_unsent_after_its_deadline(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # Attempted at once and after 1 s; the next attempt would be long after the sweep.
    monkeypatch.setattr(random, "uniform", lambda _shortest, longest: longest)
    service = await world.service(f"http://127.0.0.1:{free_port()}", retry_for=1.5)
    body = (await service.send()).json()
    assert body["status"] == "QUEUED"
    await service.becomes(body["id"], "UNSENT")
    found = await service.look(body["id"])
    assert found["final"]
    assert "time was over" in found["errors"][0]["message"]
    assert "could not be reached" in found["errors"][1]["message"]
    last = found["history"][-1]
    assert (last["status"], last["reasons"]) == (
        "UNSENT",
        [error["message"] for error in found["errors"]],
    )
    assert "QUEUED" in [step["status"] for step in found["history"]]
    events = (await service.client.get("/v1/events")).json()["events"]
    assert [event["status"] for event in events] == ["QUEUED", "UNSENT"]


async def test_an_attempt_past_the_deadline_is_skipped_with_the_earlier_reasons(
    sqlite_world: World,
) -> None:
    service = await sqlite_world.service(f"http://127.0.0.1:{free_port()}")
    body = (await service.send()).json()
    leased = {"state": "SENDING", "lease": uuid4(), "next_attempt_at": None}
    async with service.runtime.database.write() as connection:
        mine = update(messages).where(messages.c.id == UUID(body["id"]))
        await connection.execute(
            mine.values(**leased, lease_until=datetime.now(UTC) + timedelta(minutes=1))
        )
    tracked = await service.runtime.messages.find(UUID(body["id"]))
    assert tracked is not None
    late = replace(tracked.message, give_up_at=datetime.now(UTC))
    sent = await service.runtime.submitter.attempt(late)
    assert sent.status == "UNSENT"
    assert "time was over" in sent.errors[0].message
    assert "could not be reached" in sent.errors[1].message


@pytest.mark.parametrize(
    ("destination", "status"), [(ACCEPTED, "SUBMITTED"), (LOST, "UNCONFIRMED")]
)
async def test_an_outcome_that_does_not_apply_is_not_reported(
    service: Service, iovox: Iovox, destination: str, status: str
) -> None:
    """The lease had lapsed, or a receipt came first: the stored status is reported."""
    await iovox.behave(receipt_delay=3)
    body = (await service.send(to(destination))).json()
    assert body["status"] == status
    tracked = await service.runtime.messages.find(UUID(body["id"]))
    assert tracked is not None
    lost = replace(tracked.message, lease=uuid4())
    late = outcomes.requeued(lost, datetime.now(UTC), "iovox cannot be reached")
    sent = await service.runtime.outcomes.settle(late)
    assert (sent.status, sent.sms_activity_id) == (status, body["sms_activity_id"])


async def test_the_deadline_holds_while_the_breaker_is_open(sqlite_world: World) -> None:
    service = await sqlite_world.service(f"http://127.0.0.1:{free_port()}")
    for _ in range(20):
        service.runtime.submitter._breaker.record_failure(uuid4())
    body = (await service.send({**HELLO, "expiry": 1})).json()
    async with service.runtime.database.write() as connection:
        mine = update(messages).where(messages.c.id == UUID(body["id"]))
        await connection.execute(mine.values(give_up_at=datetime.now(UTC)))
    await service.becomes(body["id"], "UNSENT", patience=4)


@pytest.mark.postgresql
async def test_the_breaker_keeps_callers_from_waiting(postgres_world: World) -> None:
    """While it is open a send is queued at once, and iovox gets one probe in 5 s."""
    iovox = await postgres_world.iovox(down="503")
    service = await postgres_world.service(iovox)
    breaker = service.runtime.submitter._breaker
    breaker._clock = lambda: time.monotonic() * 4
    for _ in range(20):
        assert (await service.send()).status_code == 202
    await iovox.behave(answer_delay=0)
    before = (await iovox.counts())["requests"]
    bodies = []
    started = time.monotonic()
    while time.monotonic() - started < 5.5 / 4:  # one probe is sent after 5
        asked = time.monotonic()
        bodies.append((await service.send()).json())
        assert bodies[-1]["status"] == "QUEUED"
        assert time.monotonic() - asked < 1
        await asyncio.sleep(0.05)
    assert (await iovox.counts())["requests"] - before in (0, 1, 2)
    await iovox.behave(down=None)

    async def all_sent() -> bool:
        return await service.states() == {"SUBMITTED": 20 + len(bodies)}

    await until(all_sent, "the queue to drain", patience=20)
    counts = await iovox.counts()
    assert set(counts["by_message_id"].values()) == {1}
    assert not breaker.is_open


async def test_messages_that_always_fail_block_nothing_else(sqlite_world: World) -> None:
    """They open the breaker; then a probe with another message closes it."""
    service = await sqlite_world.service(await sqlite_world.iovox())
    breaker = service.runtime.submitter._breaker
    breaker._clock = lambda: time.monotonic() * 10  # OPEN_FOR takes half a second
    items = [to(UNAUTHORIZED) for _ in range(FAILURES_TO_OPEN)]
    await service.post("/v1/messages/batch", {"messages": items})

    async def is_open() -> bool:
        return breaker.is_open

    await until(is_open, "the breaker to open")
    bodies = [(await service.send()).json() for _ in range(3)]
    assert {one["status"] for one in bodies} == {"QUEUED"}
    for one in bodies:
        await service.becomes(one["id"], "SUBMITTED", "ACKNOWLEDGED", "DELIVERED")


async def test_the_caller_does_not_wait_for_a_slow_probe(sqlite_world: World) -> None:
    """Also without a worker: then a caller's message is the probe."""
    iovox = await sqlite_world.iovox()
    service = await sqlite_world.service(iovox, queue_workers=False)
    breaker = service.runtime.submitter._breaker
    for _ in range(20):
        breaker.record_failure(uuid4())
    breaker.release_probe()  # as if five seconds had passed
    await iovox.behave(answer_delay=1.0)
    started = time.monotonic()
    body = (await service.send()).json()
    assert time.monotonic() - started < 0.8
    assert body["status"] == "QUEUED"
    await service.becomes(body["id"], "SUBMITTED", "DELIVERED")
    assert not breaker.is_open


async def test_a_full_pool_does_not_open_the_breaker(
    sqlite_world: World,
) -> None:
    iovox = await sqlite_world.iovox(answer_delay=0.5)
    service = await sqlite_world.service(
        iovox, iovox_max_connections=1, iovox_connect_timeout=0.2, queue_workers=False
    )
    responses = await asyncio.gather(*(service.send() for _ in range(30)))
    assert sorted({response.status_code for response in responses}) == [201, 202]
    assert not service.runtime.submitter._breaker.is_open
    assert isinstance(NotSent("x", busy=True), NotSent)
