"""The short way to record iovox's answer on PostgreSQL comes to the same as the long one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from app.model.message import Acceptance
from app.store.engine import Database
from app.store.events import EVENT_LOCK
from app.store.meeting import accepting
from app.store.meeting.accepting import accept_directly
from app.store.meeting.binding import meet_and_bind_directly
from app.store.messages import MessageStore
from app.store.recording import record_directly
from app.store.tables import deliveries, events, messages
from tests.store.emptied import emptied
from tests.store.samples import acceptance, all_events, message, recorded

pytestmark = pytest.mark.postgresql


@pytest.fixture
async def database(shared_postgres_url: str) -> AsyncIterator[Database]:
    async with emptied(shared_postgres_url) as opened:
        yield opened


@pytest.fixture
def store(database: Database) -> MessageStore:
    return MessageStore(database)


async def rows_of(database: Database, sms_activity_id: str) -> list[dict[str, Any]]:
    """All that the answer left behind, without what has to differ."""
    found = []
    own = {"id", "message_id", "sms_activity_id", "lease", "recorded_at"}
    async with database.read() as connection:
        for table in (messages, deliveries, events):
            rows = await connection.execute(
                select(table).where(table.c.sms_activity_id == sms_activity_id)
            )
            found += [
                {name: value for name, value in row._mapping.items() if name not in own}
                for row in rows
            ]
    return found


async def test_both_ways_leave_the_same_rows(database: Database, store: MessageStore) -> None:
    one = message()
    other = replace(one, id=message().id, lease=uuid4())
    await store.add(recorded(one, other))
    at = datetime.now(UTC)
    async with database.direct() as driver:
        short = await accept_directly(driver, [Acceptance(one.id, "short", at)])
        long = await meet_and_bind_directly(driver, [Acceptance(other.id, "long", at)])
    assert (short, long) == ({one.id: "short"}, {other.id: "long"})
    found = await rows_of(database, "short")
    assert len(found) == 3
    assert found == await rows_of(database, "long")


async def test_of_rivals_the_first_counts(database: Database, store: MessageStore) -> None:
    one, other = message(), message()
    await store.add(recorded(one, other))
    at = datetime.now(UTC)
    pairs = [
        Acceptance(one.id, "a", at),
        Acceptance(one.id, "b", at),
        Acceptance(other.id, "a", at),
        Acceptance(uuid4(), "c", at),
    ]
    bound = await store.accepted(pairs)
    assert bound[one.id] == "a"
    assert bound.get(other.id) is None
    assert await store.accepted([Acceptance(one.id, "d", at)]) == {one.id: "a"}


async def test_what_comes_again_is_no_rival(
    database: Database, store: MessageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it is tried again while the first try still waits. It needs no longer way."""
    monkeypatch.setattr(accepting, "meet_and_bind_directly", None)
    one, other = message(), message()
    await store.add(recorded(one, other))
    pairs = [acceptance(one, "a"), acceptance(other, "b"), acceptance(one, "a")]
    assert await store.accepted(pairs) == {one.id: "a", other.id: "b"}


@pytest.mark.parametrize("short", [True, False])
async def test_a_resend_waits_for_nobody_who_waits_for_its_events(
    database: Database, store: MessageStore, short: bool
) -> None:
    """It looks whether its original is there at the end of its statement, after the event lock."""
    original = message()
    await store.add(recorded(original))
    resend = replace(message(), resend_of=original.id, announced=True)
    way = accept_directly if short else meet_and_bind_directly
    async with database.direct() as first, database.direct() as second:
        transaction = first.transaction()
        await transaction.start()
        await first.execute("select pg_advisory_xact_lock($1)", EVENT_LOCK)
        accepted = asyncio.create_task(way(second, [acceptance(original, "a")]))
        await asyncio.sleep(0.2)
        assert not accepted.done()  # it has locked its message, and waits for the event lock
        async with asyncio.timeout(2):
            assert await record_directly(first, recorded(resend), datetime.now(UTC), None)
        await transaction.commit()
        assert await accepted == {original.id: "a"}


async def test_a_message_that_was_bound_meanwhile_keeps_its_id(
    database: Database, store: MessageStore
) -> None:
    """Its delivery was created bound, and then its row turned out to be another id's."""
    one = message()
    await store.add(recorded(one))
    at = datetime.now(UTC)
    async with database.direct() as first, database.direct() as second:
        transaction = first.transaction()
        await transaction.start()
        await meet_and_bind_directly(first, [Acceptance(one.id, "first", at)])
        late = asyncio.create_task(accept_directly(second, [Acceptance(one.id, "second", at)]))
        await asyncio.sleep(0.2)
        assert not late.done()  # it waits for the message's row
        await transaction.commit()
        assert await late == {}
    assert (await rows_of(database, "second")) == [
        {**row, "app": None} for row in await rows_of(database, "second")
    ]
    assert [event.sms_activity_id for event in await all_events(database, one)] == ["first"]


async def test_crossing_answers_and_ids_do_not_deadlock(
    database: Database, store: MessageStore
) -> None:
    """Forty messages, answered by four writers at once, in four orders and by both ways."""
    many = [message() for _ in range(40)]
    await store.add(recorded(*many))
    at = datetime.now(UTC)
    pairs = [Acceptance(one.id, f"id-{number}", at) for number, one in enumerate(many)]
    orders = [pairs, pairs[::-1], pairs[::2] + pairs[1::2], pairs[20:] + pairs[:20]]

    async def write(order: list[Acceptance], short: bool) -> None:
        for start in range(0, 40, 8):
            async with database.direct() as driver:
                way = accept_directly if short else meet_and_bind_directly
                await way(driver, order[start : start + 8])

    await asyncio.gather(*(write(order, turn % 2 == 0) for turn, order in enumerate(orders)))
    async with database.read() as connection:
        bound = await connection.execute(select(messages.c.id, messages.c.sms_activity_id))
        assert {row.id: row.sms_activity_id for row in bound} == {
            p.message_id: p.sms_activity_id for p in pairs
        }
    assert len(await all_events(database)) == 40
