"""``GET /v1/events/stream``: the same events, live, and how a stream ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.feed.streams import QUEUE
from app.model.event import event_id
from tests.support.front import PROXY

from .sse import Json, listening, slow_reader
from .world import World, activity_id, fields, serving, statuses, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


def open_streams(world: World) -> float | None:
    return world.runtime.metrics.registry.get_sample_value("dlr_streams_open")


async def test_a_stream_tells_what_the_feed_tells(world: World) -> None:
    key = await world.key()
    async with listening(world.client, key) as reader:
        (message,) = await world.submitted(reference="order-42")
        await world.receive("ACKNOWLEDGED", message)
        await world.receive("DELIVERED", message, second=2)
        seen = await reader.until(3)
        response = reader.response
    assert seen == (await world.client.get("/v1/events", headers=key)).json()["events"]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert PROXY or response.headers["x-accel-buffering"] == "no"  # nginx keeps it to itself


async def test_without_a_last_event_id_it_starts_now(world: World) -> None:
    key = await world.key()
    await world.submitted(3)
    async with listening(world.client, key) as reader:
        (message,) = await world.submitted()
        (event,) = await reader.until(1)
    assert event["message_id"] == str(message.id)


async def test_a_stream_cut_before_its_first_event_resumes_where_it_began(world: World) -> None:
    key = await world.key()
    await world.submitted(3)
    async with listening(world.client, key) as reader:
        began = reader.last_id
    (message,) = await world.submitted()
    async with listening(world.client, key | {"Last-Event-ID": began}) as reader:
        (event,) = await reader.until(1)
    assert event["message_id"] == str(message.id)


async def test_it_resumes_after_the_last_event_id(world: World) -> None:
    key = await world.key()
    await world.queue(700)
    events = []
    query = {"limit": 500}
    while page := (await world.client.get("/v1/events", headers=key, params=query)).json():
        if not page["events"]:
            break
        events += page["events"]
        query = {"limit": 500, "after": page["next"]}
    async with listening(world.client, key | {"Last-Event-ID": events[99]["id"]}) as reader:
        await world.submitted(10)
        seen = await reader.until(700 - 100 + 10)
    assert seen[:-10] == events[100:]
    assert len({event["id"] for event in seen}) == len(seen)


async def test_the_header_counts_for_more_than_the_url(world: World) -> None:
    key = await world.key()
    await world.submitted(3)
    ids = [e["id"] for e in (await world.client.get("/v1/events", headers=key)).json()["events"]]
    for headers, after in (({}, ids[0]), ({"Last-Event-ID": ids[0]}, event_id(0))):
        async with listening(world.client, key | headers, after=after) as reader:
            seen = await reader.until(2)
        assert [event["id"] for event in seen] == ids[1:]


async def test_joining_while_events_are_written_misses_and_repeats_nothing(world: World) -> None:
    key = await world.key()

    async def write() -> None:
        for _ in range(100):
            await world.queue(4)

    writing = asyncio.create_task(write())
    readers = []
    async with asyncio.TaskGroup() as tasks:

        async def join(delay: float) -> None:
            await asyncio.sleep(delay)
            async with listening(world.client, key | {"Last-Event-ID": event_id(0)}) as reader:
                readers.append(await reader.until(400, patience=30))

        for turn in range(12):
            tasks.create_task(join(turn * 0.03))
    await writing
    feed: list[Json] = []
    for after in (0, 200):
        query = {"after": feed[-1]["id"] if after else event_id(0), "limit": "200"}
        feed += (await world.client.get("/v1/events", headers=key, params=query)).json()["events"]
    assert len(readers) == 12
    for seen in readers:
        assert seen == feed


async def test_another_apps_events_never_show(world: World) -> None:
    key = await world.key("billing")
    theirs = await world.submitted(3, app="support", reference="theirs")
    async with (
        listening(world.client, key) as live,
        listening(world.client, key | {"Last-Event-ID": event_id(0)}) as resumed,
        listening(world.client, await world.key("x", "admin")) as admin,
    ):
        await world.receive("DELIVERED", *theirs)
        await world.submitted(1, reference="mine")
        await admin.until(4)
        assert [e["reference"] for e in await live.until(1)] == ["mine"]
        assert [e["reference"] for e in await resumed.until(1)] == ["mine"]


async def test_filters(world: World) -> None:
    key = await world.key()
    one, other = await world.messages(2, reference="order-42")
    (third,) = await world.messages(1, reference="order-43")
    cases: dict[str, tuple[Any, int]] = {
        "by our id": ({"message": str(one.id)}, 3),
        "by a status": ({"status": "DELIVERED"}, 3),
        "by statuses with a comma": ({"status": "DELIVERED,submitted"}, 6),
        "by a status given twice": ({"status": ["DELIVERED", "ACKNOWLEDGED"]}, 6),
        "by reference": ({"reference": "order-43"}, 3),
        "by reference and status": ({"reference": "order-42", "status": "DELIVERED"}, 2),
        "by a reference nobody has": ({"reference": "order"}, 0),
    }
    counts: dict[str, int] = {}

    async def listen(case: str, begin: asyncio.Barrier, end: asyncio.Event) -> None:
        async with listening(world.client, key, **cases[case][0]) as reader:
            await begin.wait()
            await end.wait()
            counts[case] = len(reader.events)

    begin, end = asyncio.Barrier(len(cases) + 1), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for case in cases:
            tasks.create_task(listen(case, begin, end))
        await begin.wait()
        async with listening(world.client, key) as everything:
            await world.accept(one, other, third)
            await world.receive("ACKNOWLEDGED", one, other, third)
            await world.receive("DELIVERED", one, other, third, second=2)
            await everything.until(9)
        await asyncio.sleep(0.1)
        end.set()
    assert counts == {case: count for case, (_, count) in cases.items()}
    past = key | {"Last-Event-ID": event_id(0)}
    async with listening(world.client, past, message=activity_id(third)) as reader:
        assert statuses(await reader.until(3)) == ["SUBMITTED", "ACKNOWLEDGED", "DELIVERED"]


async def test_a_parameter_at_fault_is_named(world: World) -> None:
    key = await world.key()
    (theirs,) = await world.submitted(1, app="support")
    cases: dict[str, tuple[Any, Any, int, list[str]]] = {
        "unknown": ({"limit": "3"}, {}, 422, ["limit"]),
        "no status": ({"status": "SENT"}, {}, 422, ["status"]),
        "a status without events": ({"status": "SENDING"}, {}, 422, ["status"]),
        "an empty status": ({"status": ""}, {}, 422, ["status"]),
        "nonsense after": ({"after": "x"}, {}, 422, ["after"]),
        "nonsense header": ({}, {"Last-Event-ID": "x"}, 422, ["Last-Event-ID"]),
        "bytes in the header": ({}, {"Last-Event-ID": b"\xff\xfe"}, 422, ["Last-Event-ID"]),
        "from the future": ({}, {"Last-Event-ID": event_id(9**9)}, 422, ["Last-Event-ID"]),
        "no such message": ({"message": "nothing"}, {}, 404, []),
        "NUL": ({"message": "\x00"}, {}, 422, ["message"]),
        "an empty reference": ({"reference": ""}, {}, 422, ["reference"]),
        "NUL in a reference": ({"reference": "\x00"}, {}, 422, ["reference"]),
        "two references": ({"reference": ["a", "b"]}, {}, 422, ["reference"]),
        "two messages": ({"message": ["x", "y"]}, {}, 422, ["message"]),
        "another app's message": ({"message": str(theirs.id)}, {}, 404, []),
        "another app's id of iovox's": ({"message": activity_id(theirs)}, {}, 404, []),
    }
    answers = {}
    for case, (query, headers, _, _) in cases.items():
        answer = await world.client.get(
            "/v1/events/stream", params=query, headers={**key, **headers}
        )
        answers[case] = (answer.status_code, fields(answer))
    assert answers == {case: (status, names) for case, (_, _, status, names) in cases.items()}


async def test_a_silent_stream_has_heartbeats(sqlite_url: str) -> None:
    async with (
        serving(sqlite_url, stream_heartbeat=0.2) as world,
        listening(world.client, await world.key()) as reader,
    ):
        await until(lambda: reader.comments.count("heartbeat") >= 3, "heartbeats")
        await world.submitted()
        await reader.until(1)


async def test_streams_end_when_the_server_begins_to_exit(sqlite_url: str) -> None:
    async with serving(sqlite_url) as world:
        key = await world.key()
        async with listening(world.client, key) as first, listening(world.client, key) as second:
            world.runtime.end_streams()
            await until(lambda: first.has_ended and second.has_ended, "the end", patience=1)
            refused = await world.client.get("/v1/events/stream", headers=key)
            assert refused.status_code == 503
            assert refused.headers["retry-after"]
        await until(lambda: open_streams(world) == 0, "streams to be forgotten")


@pytest.mark.direct
@pytest.mark.postgresql
async def test_a_slow_reader_is_cut(postgres_url: str) -> None:
    async with serving(postgres_url) as world:
        key = await world.key()
        count = QUEUE + 1_500
        with slow_reader(world.client.base_url, key) as slow:
            await until(lambda: open_streams(world) == 1, "the slow stream")
            async with listening(world.client, key) as quick:
                await world.queue(count, reference="r" * 4_000)
                await quick.until(count, patience=30)
                assert open_streams(world) == 1, "the slow one is not cut"
            slow.settimeout(5)
            received = b""
            while some := slow.recv(65_536):
                received = (received + some)[-10:]
            assert not received.endswith(b"0\r\n\r\n"), "it ended as if it were whole"


async def test_a_stream_does_not_outlive_its_key(world: World) -> None:
    revoked = await world.key("revoked")
    keys = await world.runtime.keys.all()
    (key_id,) = [key.id for key in keys if key.app == world.app("revoked")]
    async with (
        listening(world.client, revoked) as ended,
        listening(world.client, await world.key("billing")) as stays,
    ):
        await world.runtime.keys.revoke(key_id)
        await world.runtime.hub.end_revoked()
        await until(lambda: ended.has_ended, "the end", patience=1)
        await world.submitted()
        await stays.until(1)
        assert ended.events == []


async def test_a_reader_that_leaves_is_forgotten(world: World) -> None:
    key = await world.key()
    await until(lambda: open_streams(world) == 0, "earlier streams to be forgotten")
    async with listening(world.client, key):
        assert open_streams(world) == 1
    await until(lambda: open_streams(world) == 0, "the stream to be forgotten")
