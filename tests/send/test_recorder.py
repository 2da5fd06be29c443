"""Undoing records that were committed although their caller was answered 503."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from app.errors import KeysWait, StoreRefused, StoreUnavailable, Unavailable
from app.model.fact import Fact
from app.model.fact import Recorded as RecordedFact
from app.model.message import Message, Request
from app.model.status import Status
from app.record.journal import Journal
from app.send import recorder as module
from app.send.recorder import Recorder
from app.store.engine import Database
from app.store.idempotency import IdempotencyKey, IdempotencyStore
from app.store.messages import MessageStore, NewMessage
from tests.send.world import until
from tests.store.emptied import emptied

Recorded = TypeVar("Recorded")


class Unreliable(MessageStore):
    """Commits, and then responds late or not at all."""

    lost = False
    slow = 0.0

    async def add(self, new: Sequence[NewMessage]) -> list[bool | KeysWait]:
        return await self._respond(await super().add(new))

    async def add_batch(self, new: Sequence[Message], key: IdempotencyKey | None) -> bool:
        (recorded,) = await self._respond([await super().add_batch(new, key)])
        return recorded

    async def _respond(self, recorded: list[Recorded]) -> list[Recorded]:
        await asyncio.sleep(self.slow)
        if self.lost:
            self.lost = False
            raise StoreUnavailable("connection reset by peer")
        return recorded


@pytest.fixture
async def database(shared_url: str) -> AsyncIterator[Database]:
    async with emptied(shared_url) as opened:
        yield opened


@pytest.fixture
def store(database: Database) -> Unreliable:
    return Unreliable(database)


@pytest.fixture
async def recorder(store: Unreliable) -> AsyncIterator[Recorder]:
    recorder = Recorder(store)
    yield recorder
    await recorder.close()


@pytest.fixture
async def hasty(store: Unreliable) -> AsyncIterator[Recorder]:
    """Gives up sooner than a busy machine may need: for what comes of giving up."""
    recorder = Recorder(store, timeout=0.5)
    yield recorder
    await recorder.close()


def sending() -> Message:
    now = datetime.now(UTC)
    return Message(
        id=uuid7(),
        app="billing",
        request=Request("447923221231", "447700900100", "Hello"),
        created_at=now,
        state=Status.SENDING,
        lease=uuid4(),
        lease_until=now,
    )


def queued() -> Message:
    now = datetime.now(UTC)
    return replace(
        sending(),
        state=Status.QUEUED,
        announced=True,
        lease=None,
        lease_until=None,
        next_attempt_at=now,
    )


def key_of(message: Message | None) -> IdempotencyKey:
    return IdempotencyKey("billing", "key", b"print", message.id if message else None)


async def state_of(store: MessageStore, message: Message) -> Status | None:
    found = await store.find(message.id)
    return found.message.state if found else None


async def until_undone(store: MessageStore, *messages: Message) -> None:
    async def undone() -> bool:
        return {await state_of(store, message) for message in messages} == {Status.UNSENT}

    await until(undone, "the records to be undone")


@pytest.mark.parametrize("make", [sending, queued])
@pytest.mark.parametrize("how", ["lost", "slow"])
async def test_undone_and_the_key_is_free(
    database: Database,
    store: Unreliable,
    recorder: Recorder,
    hasty: Recorder,
    make: object,
    how: str,
) -> None:
    assert callable(make)
    first, second = make(), make()
    store.lost, store.slow = how == "lost", 0.8 if how == "slow" else 0.0
    with pytest.raises(Unavailable, match="Nothing was sent"):
        await hasty.record(NewMessage(first, key_of(first)))
    await until_undone(store, first)
    store.slow = 0.0
    assert await recorder.record(NewMessage(second, key_of(second)))
    used = await IdempotencyStore(database).find(key_of(None), now=datetime.now(UTC))
    assert used == key_of(second)
    found = await store.find(first.id)
    assert found is not None
    assert "told 503" in found.steps[-1].reasons[0]


async def test_undone_as_soon_as_its_own_batch_has_ended(store: Unreliable) -> None:
    """Not only when the concurrent batch has ended, too: meanwhile a worker may claim the QUEUED
    message, whose caller was invited to send again.
    """
    store.writes_at_once = 2
    recorder = Recorder(store, timeout=0.5)
    late, beside = queued(), queued()
    store.slow = 0.7
    first = asyncio.create_task(recorder.record(NewMessage(late)))
    await asyncio.sleep(0.1)
    store.slow = 4.0
    others = [queued() for _ in range(2)]
    rest = [asyncio.create_task(recorder.record(NewMessage(one))) for one in (beside, *others)]
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await first
    await until_undone(store, late)
    assert time.monotonic() - began < 3
    await asyncio.gather(*rest, return_exceptions=True)
    await recorder.close()
    assert {await state_of(store, one) for one in (beside, *others)} == {Status.UNSENT}


async def test_a_record_that_commits_after_the_first_query_is_undone(
    store: Unreliable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection was cut, and the server ran the statement to its end."""
    monkeypatch.setattr(module, "UNDO_DELAYS", (0.0, 0.5, 1.0))
    message = queued()
    landing: list[asyncio.Task[list[bool | KeysWait]]] = []

    async def land_later(new: Sequence[NewMessage]) -> list[bool | KeysWait]:
        await asyncio.sleep(0.3)
        return await MessageStore.add(store, new)

    async def add(new: Sequence[NewMessage]) -> list[bool]:
        landing.append(asyncio.create_task(land_later(new)))
        raise StoreUnavailable("connection reset by peer")

    monkeypatch.setattr(store, "add", add)
    late = Recorder(store)
    with pytest.raises(Unavailable):
        await late.record(NewMessage(message))
    assert await landing[0] == [True]
    await until_undone(store, message)
    await late.close()


async def test_a_batch_is_undone_as_a_whole(store: Unreliable, recorder: Recorder) -> None:
    batch = [queued() for _ in range(3)]
    store.lost = True
    with pytest.raises(Unavailable):
        await recorder.record_batch(batch, key_of(None))
    await until_undone(store, *batch)
    assert await recorder.record_batch([queued()], key_of(None))


async def test_a_message_being_sent_keeps_its_key(
    database: Database, store: Unreliable, recorder: Recorder
) -> None:
    """A worker claimed it first. A repetition with the key is answered with its outcome."""
    message = queued()
    await recorder.record(NewMessage(message, key_of(message)))
    now = datetime.now(UTC)
    await store.claim(limit=1, lease=uuid4(), lease_until=now)
    assert await store.undo_add([message], key_of(message), "told 503") == set()
    assert await state_of(store, message) is Status.SENDING
    used = await IdempotencyStore(database).find(key_of(None), now=now)
    assert used == key_of(message)


async def test_of_a_batch_with_a_key_all_are_undone_or_none(
    database: Database, store: Unreliable, recorder: Recorder
) -> None:
    """One of them was sent. A repetition is answered with all of them, so all are sent."""
    batch = [queued(), queued()]
    await recorder.record_batch(batch, key_of(None))
    now = datetime.now(UTC)
    assert len(await store.claim(limit=1, lease=uuid4(), lease_until=now)) == 1
    assert await store.undo_add(batch, key_of(None), "told 503") == set()
    states = [await state_of(store, one) for one in batch]
    assert sorted(states, key=str) == [Status.QUEUED, Status.SENDING]
    used = await IdempotencyStore(database).find(key_of(None), now=now)
    assert used == key_of(None)


@pytest.mark.parametrize("make", [sending, queued])
async def test_a_record_that_was_replayed_is_not_undone(
    database: Database, store: Unreliable, recorder: Recorder, make: object
) -> None:
    assert callable(make)
    keys, message = IdempotencyStore(database), make()
    await recorder.record(NewMessage(message, key_of(message)))
    now = datetime.now(UTC)
    used = await keys.find(key_of(None), now=now)
    assert used is not None
    assert await keys.mark_repeated(used, now)
    assert await store.undo_add([message], key_of(message), "told 503") == set()
    assert await state_of(store, message) is message.state
    again = await keys.find(key_of(None), now=now)
    assert again == replace(used, repeated=True)
    assert await keys.mark_repeated(again, now)


async def test_an_undone_record_is_not_replayed(
    database: Database, store: Unreliable, recorder: Recorder
) -> None:
    keys, message = IdempotencyStore(database), queued()
    await recorder.record(NewMessage(message, key_of(message)))
    used = await keys.find(key_of(None), now=datetime.now(UTC))
    assert used is not None
    assert await store.undo_add([message], key_of(message), "told 503") == {message.id}
    assert not await keys.mark_repeated(used, datetime.now(UTC))


async def test_only_its_own_claim_is_released(
    database: Database, store: Unreliable, recorder: Recorder
) -> None:
    """Of a batch whose messages were all refused only the claim is to be undone."""
    right = replace(key_of(None), fingerprint=b"other", answer="right")
    assert await recorder.record_batch([queued()], right)
    assert (
        await store.undo_add([], replace(key_of(None), answer="all refused"), "told 503") == set()
    )
    assert await IdempotencyStore(database).find(key_of(None), now=datetime.now(UTC)) == right


async def test_a_message_that_the_database_refuses_fails_alone(recorder: Recorder) -> None:
    orphan = replace(sending(), resend_of=uuid4())
    results = await asyncio.gather(
        *(recorder.record(NewMessage(one)) for one in (sending(), orphan, sending())),
        return_exceptions=True,
    )
    assert results[0] is results[2] is True
    assert isinstance(results[1], StoreRefused)


async def test_a_closed_recorder_refuses_messages(recorder: Recorder) -> None:
    await recorder.close()
    with pytest.raises(Unavailable, match="shut down"):
        await recorder.record(NewMessage(sending()))


class Listened(Journal):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Fact] = []

    def confirm(self, facts: Iterable[Fact], began_in: UUID | None) -> None:
        self.told += facts


async def test_a_claim_is_journaled_by_the_databases_clock(store: Unreliable) -> None:
    """By that of a host which is slow by a day it would not come back from the journal."""
    journal, now = Listened(), datetime(2026, 11, 22, 9, tzinfo=UTC)
    recorder = Recorder(store, journal=journal, now=lambda: now)
    message = sending()
    assert await recorder.record(NewMessage(message, key_of(message)))
    (fact,) = journal.told
    assert isinstance(fact, RecordedFact)
    assert fact.key is not None
    assert fact.key.claimed_at == now
    await recorder.close()
