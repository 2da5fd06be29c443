"""Several server processes, as in production: the order of events, kills, and orderly ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from app.errors import StoreUnavailable
from app.model.message import Message
from app.store.engine import Database
from app.store.feed import FeedStore
from app.webhooks.deliverer import PREFETCH
from tests.support.long import POSTGRESQL, cases, on
from tests.support.postgresql import PostgresServer

from .receiver import Answer, always, receiving
from .servers import Replica, replica
from .sse import listening, slow_reader
from .world import SECRET, Writer, activity_id, serving, until

pytestmark = pytest.mark.crash


@asynccontextmanager
async def writing(database_url: str) -> AsyncIterator[Writer]:
    database = Database(database_url)
    try:
        yield Writer(database)
    finally:
        await database.close()


async def post_receipt(server: Replica, message: Message, status: str, second: int) -> None:
    body = {
        "sms_activity_id": activity_id(message),
        "status": status,
        "receipt_timestamp": f"2026-05-06 18:00:{second:02}",
    }
    answer = await server.client.post("/dlr", json=body, headers={"X-Secret": SECRET})
    assert answer.status_code == 200


async def read_every_millisecond(feed: FeedStore, done: asyncio.Event) -> list[int]:
    """The events' numbers as a reader sees them that goes on from the last one it has seen."""
    seen: list[int] = []
    while True:
        was_done = done.is_set()
        page = await feed.page(after=seen[-1] if seen else 0, app=None, limit=500)
        seen += [event.number for event in page]
        if was_done and not page:
            return seen
        await asyncio.sleep(0.001)


@pytest.mark.postgresql
async def test_readers_miss_nothing_while_two_servers_write(postgres_url: str) -> None:
    """Without the advisory lock an event shows up below one that was read already, and is missed.

    Six writers post receipts to both servers in turn, a seventh accepts the messages.
    """
    count, writers = 200, 6
    async with (
        writing(postgres_url) as writer,
        writing(postgres_url) as reader,
        replica(postgres_url) as one,
        replica(postgres_url) as other,
    ):
        key = await writer.key()
        messages = await writer.messages(count)
        done = asyncio.Event()
        reading = asyncio.create_task(read_every_millisecond(FeedStore(reader.database), done))

        async def accept() -> None:
            for turn in range(0, count, 5):
                await writer.accept(*messages[turn : turn + 5])

        async def receive(part: int) -> None:
            for turn, message in enumerate(messages[part::writers]):
                for second, status in enumerate(("ACKNOWLEDGED", "BUFFERED", "DELIVERED")):
                    server = one if (turn + second) % 2 else other
                    await post_receipt(server, message, status, second)

        async with (
            listening(one.client, key) as at_one,
            listening(other.client, key) as at_other,
        ):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(accept())
                for part in range(writers):
                    tasks.create_task(receive(part))
            done.set()
            seen = await reading
            everything = await FeedStore(reader.database).page(after=0, app=None, limit=10_000)
            assert len(everything) == 4 * count
            assert seen == [event.number for event in everything]
            for streamed in (at_one, at_other):
                await streamed.until(4 * count)
                assert [e["id"] for e in streamed.events] == [e.id for e in everything]


@on(POSTGRESQL)
async def test_a_kill_loses_nothing(database_url: str) -> None:
    """A server is killed in the middle; another one, on the same database, goes on.

    The stream repeats nothing either; a webhook may be sent again what was under way.
    """
    count = 200
    quick: dict[str, Any] = {"webhook_allow_http": True, "webhook_allowed_networks": "127.0.0.0/8",
             "webhook_timeout": 1}  # fmt: skip
    async with (
        writing(database_url) as writer,
        receiving(always(Answer(delay=0.05))) as receiver,
        replica(database_url, **quick) as first,
    ):
        key = await writer.key()
        messages = await writer.messages(count)
        hook = {"url": receiver.url, "statuses": ["SUBMITTED"]}
        made = await first.client.post("/v1/webhooks", headers=key, json=hook)

        async def write() -> None:
            for turn in range(0, count, 2):
                await writer.accept(*messages[turn : turn + 2])
                await asyncio.sleep(0.01)

        async with listening(first.client, key) as before:
            task = asyncio.create_task(write())
            await before.until(20)
            await receiver.until(20)
            async with replica(database_url, **quick) as second:
                await asyncio.to_thread(first.process.kill)
                headers = key | {"Last-Event-ID": before.last_id}
                async with listening(second.client, headers) as after:
                    rest = count - len(before.events)
                    events = before.events + await after.until(rest, patience=30)
                await task
                calls = await receiver.until(count, patience=30)
        everything = await FeedStore(writer.database).page(after=0, app=None, limit=1_000)
        assert [event["id"] for event in events] == [event.id for event in everything]
        assert {call.data["id"] for call in calls} == {event.id for event in everything}
        assert len(calls) <= count + 8 + PREFETCH, "more was sent twice than was not recorded yet"
        for call in calls:
            call.verify(made.json()["secret"])


@pytest.mark.parametrize("workers", cases(1, 2))
async def test_a_stop_ends_streams_at_once(sqlite_url: str, workers: int) -> None:
    """Even one whose reader takes nothing, which would hold up the server until its time is up."""
    async with writing(sqlite_url) as writer, replica(sqlite_url, workers=workers) as server:
        key = await writer.key()
        async with AsyncExitStack() as stack:
            readers = [
                await stack.enter_async_context(listening(server.client, key)) for _ in range(5)
            ]
            slow = stack.enter_context(slow_reader(server.client.base_url, key))
            await asyncio.sleep(0.1)
            await writer.queue(300, reference="r" * 10_000)
            for reader in readers:
                await reader.until(300, patience=30)
            began = time.monotonic()
            code = await asyncio.to_thread(server.process.terminate, 15)
            took = time.monotonic() - began
            await until(lambda: all(reader.has_ended for reader in readers), "the ends")
            assert slow.fileno() > 0
        assert took < 8, server.process.output()
        assert "Traceback" not in server.process.output()
        assert code in (0, -15)


@pytest.mark.postgresql
async def test_a_stream_outlives_its_database(
    own_postgres: PostgresServer, postgres_url: str
) -> None:
    async with serving(postgres_url) as world:
        key = await world.key()
        async with listening(world.client, key) as reader:
            await world.queue(1)
            await reader.until(1)
            await asyncio.to_thread(own_postgres.stop, "immediate")
            await asyncio.sleep(1)
            await asyncio.to_thread(own_postgres.start)
            await until(lambda: world.runtime.watch.is_up, "the database to be back")
            await _tried_until_done(lambda: world.queue(3))
            await reader.until(4)
        answer = await world.client.get("/v1/events", headers=key)
        assert [event["id"] for event in answer.json()["events"]] == [
            event["id"] for event in reader.events
        ]


async def _tried_until_done(work: Callable[[], Awaitable[object]]) -> None:
    """The pool's connections are of before the crash, and each fails once."""
    for _ in range(20):
        try:
            await work()
        except StoreUnavailable:
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("the database stayed away")
