"""Idempotency keys that are erased: their claims go on, under a digest, however claimed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text, update
from uuid_utils.compat import uuid7

from app.model.erased_keys import erased_fingerprint, erased_name, is_erased
from app.model.fact import ClaimedKey, Fact, Recorded
from app.model.mentions import Mentions
from app.model.message import Message, Request
from app.model.status import Status
from app.record.blanking import WithoutErased
from app.record.encoding import decode, encode
from app.record.framing import unframe
from app.store.bringing_back import BringingBackStore
from app.store.engine import Database
from app.store.erasing.keys import erase_again, erase_mentions_of
from app.store.idempotency import IdempotencyKey, IdempotencyStore
from app.store.messages import MessageStore, NewMessage
from app.store.presence import PresenceStore
from app.store.tables import idempotency_keys

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBER = "447700900105"
KEY = f"for-{NUMBER}"
PRINT, OTHER_PRINT = b"p" * 16, b"q" * 16


def message() -> Message:
    now = datetime.now(UTC)
    request = Request("447923221231", NUMBER, "Hello", reference="case-7")
    return Message(uuid7(), "billing", request, now, Status.QUEUED, announced=True)


def claim_of(one: Message, *, fingerprint: bytes = PRINT, app: str = "billing") -> IdempotencyKey:
    return IdempotencyKey(app, KEY, fingerprint, one.id)


async def add(store: MessageStore, one: Message, key: IdempotencyKey) -> bool:
    (recorded,) = await store.add([NewMessage(one, key)])
    assert isinstance(recorded, bool)
    return recorded


async def add_batch(store: MessageStore, one: Message, key: IdempotencyKey) -> bool:
    return await store.add_batch([one], replace(key, message_id=None, answer="{}"))


Add = Callable[[MessageStore, Message, IdempotencyKey], Coroutine[None, None, bool]]
both_ways = pytest.mark.parametrize("add", [add, add_batch])


async def erase(database: Database) -> list[UUID]:
    async with database.write() as connection:
        return await erase_mentions_of(connection, Mentions(NUMBER))


async def keys_in(database: Database) -> list[str]:
    async with database.read() as connection:
        return list((await connection.execute(select(idempotency_keys.c.key))).scalars())


@both_ways
async def test_a_key_that_is_erased_is_still_used(database: Database, add: Add) -> None:
    store, keys = MessageStore(database), IdempotencyStore(database)
    first = message()
    assert await add(store, first, claim_of(first))
    assert await erase(database) == [UUID(bytes=PRINT)]
    assert await erase(database) == []
    (left,) = await keys_in(database)
    assert is_erased(left)
    again = message()
    assert not await add(store, again, claim_of(again))
    assert await store.find(again.id) is None
    found = await keys.find(claim_of(again), now=datetime.now(UTC))
    assert found is not None
    assert found.message_id == (first.id if add is not add_batch else None) or found.answer
    assert await keys.mark_repeated(found, datetime.now(UTC))


@both_ways
async def test_many_repetitions_at_one_time_wait_for_each_other(
    database: Database, add: Add
) -> None:
    """None is a deadlock: what each locks of a claim that is there is what it locks of its own."""
    store, first = MessageStore(database), message()
    assert await add(store, first, claim_of(first))
    again = [message() for _ in range(12)]
    assert not any(await asyncio.gather(*(add(store, one, claim_of(one)) for one in again)))


@both_ways
async def test_other_apps_and_other_days_are_free(database: Database, add: Add) -> None:
    store = MessageStore(database)
    first, theirs, next_day = message(), message(), message()
    assert await add(store, first, claim_of(first))
    await erase(database)
    assert await add(store, theirs, claim_of(theirs, app="shipping"))
    async with database.write() as connection:
        yesterday = datetime.now(UTC) - timedelta(hours=24, minutes=1)
        await connection.execute(update(idempotency_keys).values(created_at=yesterday))
    assert await add(store, next_day, claim_of(next_day))


@both_ways
async def test_a_repetition_waits_for_an_erasure_that_is_not_committed(
    database: Database, add: Add
) -> None:
    store = MessageStore(database)
    first, again = message(), message()
    assert await add(store, first, claim_of(first))
    async with database.write() as connection:
        await erase_mentions_of(connection, Mentions(NUMBER))
        repeated: asyncio.Task[bool] = asyncio.create_task(add(store, again, claim_of(again)))
        await until_it_waits(database, repeated)
    assert await repeated is False
    assert await store.find(again.id) is None


async def until_it_waits(database: Database, task: asyncio.Task[bool]) -> None:
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    for _ in range(100):
        await asyncio.sleep(0.02)
        assert not task.done()
        if database.is_sqlite:
            return
        async with database.read() as connection:
            if (await connection.execute(text(waiting))).scalar_one():
                return
    raise AssertionError("the repetition does not wait")


def on_disk(fact: Fact, *numbers: str) -> Fact:
    """The fact as a journal has it, after an erasure of these numbers."""
    ids = {one.id for one in fact.messages} if isinstance(fact, Recorded) else set()
    changed = WithoutErased(ids, [], [Mentions(one) for one in numbers])(fact)
    record = encode(changed)
    assert len(record) <= len(encode(fact))
    raw = unframe(record, 0)
    assert raw is not None
    found = decode(raw)
    assert found is not None
    return found


@pytest.mark.parametrize("key", [NUMBER, KEY, "0044 7700.900.105".replace(" ", "-"), "case-7"])
async def test_a_journal_keeps_the_claim(key: str) -> None:
    one = message()
    fact = Recorded((one,), ClaimedKey("billing", key, PRINT, one.created_at, one.id))
    digest = erased_fingerprint(key, PRINT)
    kept = on_disk(fact, NUMBER)
    assert isinstance(kept, Recorded)
    assert kept.key == ClaimedKey("billing", erased_name(digest), digest, one.created_at, one.id)
    assert on_disk(kept, NUMBER) == kept


async def bring_back(database: Database, fact: Recorded) -> int:
    presence = PresenceStore(database)
    await presence.begin(None, me="a process", host="here", why="the test says so")
    newest = (await presence.look()).newest
    presence.close()
    assert newest is not None
    store = BringingBackStore(database)
    found = await store.bring_back([fact], incarnation=newest.nonce, generation=newest.generation)
    return found.keys


@pytest.mark.parametrize("journal", ["erased", "not yet"])
@pytest.mark.parametrize("has", ["nothing", "the key", "its digest"])
async def test_it_comes_back_once(database: Database, journal: str, has: str) -> None:
    """Whatever the database was set back to, and whether or not the journal was rewritten yet."""
    store, keys = MessageStore(database), IdempotencyStore(database)
    first, again = message(), message()
    if has != "nothing":
        assert await add(store, first, claim_of(first))
    if has == "its digest":
        await erase(database)
    fact: Fact = Recorded((first,), ClaimedKey("billing", KEY, PRINT, first.created_at, first.id))
    if journal == "erased":
        fact = on_disk(fact, NUMBER)
    assert isinstance(fact, Recorded)
    assert await bring_back(database, fact) == (
        has == "nothing" or (journal, has) == ("erased", "the key")
    )
    found = await keys.find(claim_of(again), now=datetime.now(UTC))
    assert found is not None
    assert found.message_id == first.id
    async with database.write() as connection:
        await erase_again(connection, {UUID(bytes=PRINT): None})
    assert [is_erased(one) for one in await keys_in(database)] == [True]
    assert not await add(store, again, claim_of(again))


async def test_another_body_under_an_erased_key_is_another_request(database: Database) -> None:
    """Nothing tells any more that it was the same key."""
    store = MessageStore(database)
    first, other = message(), message()
    assert await add(store, first, claim_of(first))
    await erase(database)
    assert await add(store, other, claim_of(other, fingerprint=OTHER_PRINT))
