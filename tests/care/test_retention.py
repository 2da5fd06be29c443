"""What is kept how long: texts, then everything else; what waits stays; where the feed begins."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import func, insert, select, update

from app.model.audit import Actor
from app.model.event import event_id
from app.model.message import Acceptance, Message
from app.model.receipt import Arrival, Rejection
from app.model.status import Status
from app.model.webhook import Attempt
from app.record.retention import Purger, Retention
from app.store.engine import Database
from app.store.outbox.attempts import log_of
from app.store.retention import RetentionStore
from app.store.tables import (
    deliveries,
    events,
    messages,
    metadata,
    retention,
    webhook_deliveries,
    webhooks,
)
from tests.cli.here import dlr
from tests.lookup.world import World, id_at, living

in_module = pytest.mark.asyncio(loop_scope="module")

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=500)
LIMIT = NOW - timedelta(days=400)
OPERATOR = Actor("os:someone@here")
TEXT = "The text that must not stay 4711"


@pytest_asyncio.fixture(loop_scope="module")
async def world(database_url: str) -> AsyncIterator[World]:
    async with living(database_url) as world:
        yield world


def database(world: World) -> Database:
    return world.service.runtime.database


def purger(world: World) -> Purger:
    return Purger(RetentionStore(database(world)), rest=0)


async def counts(world: World) -> dict[str, int]:
    async with database(world).read() as connection:
        return {
            table.name: (
                await connection.execute(select(func.count()).select_from(table))
            ).scalar_one()
            for table in metadata.sorted_tables
        }


async def aged(world: World, *found: Message) -> None:
    """Their states and events are as old as they are themselves; the world makes those now."""
    async with database(world).write() as connection:
        for message in found:
            await connection.execute(
                update(messages)
                .where(messages.c.id == message.id)
                .values(state_at=message.created_at)
            )
            await connection.execute(
                update(events)
                .where(events.c.message_id == message.id)
                .values(recorded_at=message.created_at)
            )


@in_module
async def test_all_that_is_old_goes_and_nothing_else(world: World) -> None:
    old = [
        await world.message(status, created_at=OLD, reference="old")
        for status in (Status.DELIVERED, Status.FAILED, Status.REJECTED, Status.CANCELLED)
    ]
    await aged(world, *old)
    again = await world.message(Status.DELIVERED, resend_of=old[0].id)
    young = await world.message(Status.DELIVERED)
    waiting = await world.message(Status.QUEUED, created_at=OLD)
    await world.receipts("nobody's", (Status.DELIVERED, OLD))
    kept = Rejection(Arrival(id_at(OLD), OLD, b"old"), 422, "old")
    await world.service.runtime.rejected.add([], [kept])
    async with database(world).write() as connection:
        await connection.execute(
            update(deliveries).where(deliveries.c.message_id.is_(None)).values(received_at=OLD)
        )
    store = RetentionStore(database(world))
    foreseen = await store.count(LIMIT)
    done = await purger(world).purge(LIMIT, actor=OPERATOR)
    assert {name: done[name] for name in foreseen} == foreseen
    assert (done["messages"], done["unmatched ids"], done["rejected calls"]) == (4, 1, 1)
    for message in old:
        assert (await world.admin.get(f"/v1/messages/{message.id}")).status_code == 404
    for message in (again, young, waiting):
        found = await world.admin.get(f"/v1/messages/{message.id}")
        assert found.status_code == 200
        assert found.json()["resend_of"] is None
    left = await counts(world)
    assert (left["messages"], left["receipts"], left["deliveries"]) == (3, 2, 2)
    assert left["rejected_receipts"] == 0
    async with database(world).read() as connection:
        of = set((await connection.execute(select(events.c.message_id))).scalars())
    assert of <= {again.id, young.id, waiting.id}
    told = (await world.admin.get("/v1/audit", params={"action": "record.purge"})).json()
    assert [(one["who"], one["times"]) for one in told["entries"]] == [(OPERATOR.who, 1)]
    assert done == await counted_again(world, done)


async def counted_again(world: World, done: dict[str, int]) -> dict[str, int]:
    """A second purge finds nothing, and leaves no entry."""
    again = await purger(world).purge(LIMIT, actor=OPERATOR)
    assert set(again.values()) == {0}
    told = (await world.admin.get("/v1/audit", params={"action": "record.purge"})).json()
    assert len(told["entries"]) == 1
    return done


@in_module
async def test_more_than_a_batch(world: World) -> None:
    store = RetentionStore(database(world), batch_size=3)
    old = [
        await world.message(Status.DELIVERED, created_at=OLD + timedelta(minutes=n))
        for n in range(10)
    ]
    await aged(world, *old)
    seen: list[int] = []
    done = await Purger(store, rest=0).purge(
        LIMIT, actor=OPERATOR, progress=lambda counts: seen.append(counts["messages"])
    )
    assert done["messages"] == 10
    assert seen[:4] == [3, 6, 9, 10]
    assert done["events"] == 20


@in_module
async def test_one_that_was_sent_lately_is_not_old(world: World) -> None:
    """It was recorded long ago, for a time that has just come."""
    sent = await world.message(Status.DELIVERED, created_at=OLD, text=TEXT)
    async with database(world).write() as connection:
        await connection.execute(update(messages).values(state_at=NOW))
    await purger(world).purge(LIMIT, actor=OPERATOR)
    await purger(world).drop_texts(LIMIT)
    assert (await world.admin.get(f"/v1/messages/{sent.id}")).json()["message"] == TEXT


@in_module
async def test_texts_go_and_the_rest_stays(world: World) -> None:
    sent = await world.message(Status.DELIVERED, created_at=OLD, text=TEXT)
    young = await world.message(Status.DELIVERED, text="young")
    waiting = await world.message(Status.QUEUED, created_at=OLD, text="waiting")
    await aged(world, sent)
    await answered(world, sent, f"out of order: {TEXT}")
    await answered(world, young, "all is well")
    assert await purger(world).drop_texts(LIMIT) == 1
    assert await purger(world).drop_texts(LIMIT) == 0
    rows = await everything(database(world))
    assert TEXT not in rows
    assert "all is well" in rows
    assert rows.count("it answered 500") == 2
    found = (await world.admin.get(f"/v1/messages/{sent.id}")).json()
    assert (found["message"], found["destination"]) == (None, "447723443321")
    assert (found["status"], found["erased_at"]) == ("DELIVERED", None)
    for message, words in ((young, "young"), (waiting, "waiting")):
        assert (await world.admin.get(f"/v1/messages/{message.id}")).json()["message"] == words
    again = await world.admin.post(f"/v1/messages/{sent.id}/resend")
    assert again.status_code == 409
    assert "its text was not kept as long" in again.json()["detail"]


async def answered(world: World, message: Message, response: str) -> None:
    """A webhook's receiver has answered an attempt to tell of the message."""
    hook = {
        "id": uuid4(), "app": "billing", "url": "https://example.com", "statuses": "DELIVERED",
        "secret": "whsec_", "state": "PAUSED", "created_at": NOW, "position": 0,
    }  # fmt: skip
    told = {
        "id": uuid4(), "webhook_id": hook["id"], "message_id": message.id,
        "type": "message.delivered", "body": "{}", "state": "FAILED", "created_at": NOW,
        "attempt_log": log_of([Attempt(NOW, 12, 500, "it answered 500", response)]),
    }  # fmt: skip
    async with database(world).write() as connection:
        await connection.execute(insert(webhooks).values(hook))
        await connection.execute(insert(webhook_deliveries).values(told))


@in_module
async def test_the_text_of_one_that_waited_goes_once_it_is_sent(world: World) -> None:
    waiting = await world.message(Status.QUEUED, created_at=OLD, text=TEXT)
    others = [
        await world.message(Status.DELIVERED, created_at=OLD + timedelta(days=1)) for _ in range(3)
    ]
    await aged(world, *others)
    assert await purger(world).drop_texts(LIMIT) == 3
    assert await world.service.runtime.messages.cancel(waiting, OLD) == 0  # leases
    assert await purger(world).drop_texts(LIMIT) == 1
    assert TEXT not in await everything(database(world))
    assert (await counts(world))["retention_waiting"] == 0


async def everything(of: Database) -> str:
    """All rows of all tables, as text."""
    found: list[Any] = []
    async with of.read() as connection:
        for table in metadata.sorted_tables:
            rows = await connection.execute(select(*table.c))
            found += [repr(tuple(row)) for row in rows]
    return "\n".join(found)


@in_module
async def test_where_texts_are_not_kept_they_are_gone_when_iovox_has_answered(
    database_url: str,
) -> None:
    async with living(database_url, keep_texts_for=0.0) as world:
        runtime = world.service.runtime
        sent = await world.message(Status.SENDING, text=TEXT)
        await runtime.messages.accepted([Acceptance(sent.id, "a-1", datetime.now(UTC))])
        store = RetentionStore(runtime.database)
        await Purger(store, rest=0).drop_texts(datetime.now(UTC) + timedelta(seconds=1))
        assert TEXT not in await everything(runtime.database)
        await world.receipts("a-1", (Status.DELIVERED, datetime.now(UTC)))
        found = (await world.admin.get(f"/v1/messages/{sent.id}")).json()
        assert (found["status"], found["message"]) == ("DELIVERED", None)


@in_module
async def test_one_process_at_a_time_and_once_a_day(world: World) -> None:
    store = RetentionStore(database(world))
    mine, others, day = uuid4(), uuid4(), timedelta(days=1)
    assert await store.claim("record", lease=mine, every=day)
    assert not await store.claim("record", lease=others, every=day)
    assert await store.renew("record", lease=mine)
    async with database(world).write() as connection:  # whoever had it was killed
        await connection.execute(update(retention).values(lease_until=OLD))
    assert await store.claim("record", lease=others, every=day)
    assert not await store.renew("record", lease=mine)
    await store.finish("record", lease=others)
    assert not await store.claim("record", lease=mine, every=day)
    assert await store.claim("record", lease=mine, every=timedelta(0))


@in_module
async def test_it_is_done_by_itself(world: World) -> None:
    sent = await world.message(Status.DELIVERED, created_at=OLD, text=TEXT)
    await aged(world, sent)
    store = RetentionStore(database(world))
    keep = timedelta(days=400)
    retention_ = Retention(store, keep_texts_for=keep, keep_for=None)
    await retention_.run_once()
    assert (await world.admin.get(f"/v1/messages/{sent.id}")).json()["message"] is None
    await Retention(store, keep_texts_for=None, keep_for=keep).run_once()
    assert (await world.admin.get(f"/v1/messages/{sent.id}")).status_code == 404
    told = (await world.admin.get("/v1/audit", params={"action": "record.purge"})).json()
    assert [one["who"] for one in told["entries"]] == ["service"]


@in_module
async def test_a_cursor_from_before_the_oldest_event_is_gone(world: World) -> None:
    old = [await world.message(Status.DELIVERED, created_at=OLD) for _ in range(3)]
    await aged(world, *old)
    first = (await world.as_app("billing").get("/v1/events", params={"limit": 2})).json()
    await world.message(Status.DELIVERED, app="shipping")
    await purger(world).purge(LIMIT, actor=OPERATOR)
    app = world.as_app("billing")
    for path in ("/v1/events", "/v1/events/stream"):
        gone = await app.get(path, params={"after": first["next"]})
        assert gone.status_code == 410
        assert gone.json()["type"] == "urn:iovox-receipts:problem:gone"
    goes_on = gone.json()["next"]
    assert goes_on.endswith(event_id(6))
    assert (await app.get("/v1/events", params={"after": goes_on})).json()["events"] == []
    assert (await app.get("/v1/events")).status_code == 200  # from the beginning
    await world.message(Status.SUBMITTED)
    page = (await app.get("/v1/events", params={"after": goes_on})).json()
    assert [one["status"] for one in page["events"]] == ["SUBMITTED"]


def test_what_is_younger_than_a_day_needs_a_yes(sqlite_url: str) -> None:
    env = {"DLR_DATABASE_URL": sqlite_url}
    refused = dlr(["purge", "--older-than", "23h"], env)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    for words in (["1d"], ["23h", "--dry-run"], ["0m", "--yes"]):
        assert dlr(["purge", "--older-than", *words], env).returncode == 0
    for age in ("400", "-1d", "d", "1e3d", "999999d"):
        assert dlr(["purge", "--older-than", age], env).returncode == 2


def test_a_dry_run_counts_and_deletes_nothing(database_url: str) -> None:
    env = {"DLR_DATABASE_URL": database_url}
    assert dlr(["keys", "create", "billing", "--scope", "read"], env).returncode == 0
    words = ["purge", "--older-than", "0m", "--yes"]
    dry = dlr([*words, "--dry-run"], env)
    assert "1 audit entries" in dry.stdout
    done = dlr(words, env)
    assert "1 audit entries" in done.stdout
    left = [
        json.loads(line)["action"] for line in dlr(["audit", "--json"], env).stdout.splitlines()
    ]
    assert left == ["record.purge"]
