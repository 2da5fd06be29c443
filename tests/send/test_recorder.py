"""What is recorded although its caller was told 503 is undone, so that it can send again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from uuid_utils.compat import uuid7

from app.errors import StoreRefused, StoreUnavailable, Unavailable
from app.model.message import Message, Request
from app.model.status import Status
from app.send import recorder as module
from app.send.recorder import Recorder
from app.store.engine import Database
from app.store.idempotency import IdempotencyKey, IdempotencyStore
from app.store.messages import MessageStore, NewMessage
from tests.send.world import until


class Unreliable(MessageStore):
    """Commits, and then loses its answer, or takes its time for it."""

    lost = False
    slow = 0.0

    async def add(self, new: Sequence[NewMessage]) -> list[bool]:
        return await self._told(await super().add(new))

    async def add_batch(self, new: Sequence[Message], key: IdempotencyKey | None) -> bool:
        (told,) = await self._told([await super().add_batch(new, key)])
        return told

    async def _told(self, answer: list[bool]) -> list[bool]:
        await asyncio.sleep(self.slow)
        if self.lost:
            self.lost = False
            raise StoreUnavailable("connection reset by peer")
        return answer


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def store(database: Database) -> Unreliable:
    return Unreliable(database)


@pytest.fixture
async def recorder(store: Unreliable) -> AsyncIterator[Recorder]:
    recorder = Recorder(store, patience=0.5)
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
    database: Database, store: Unreliable, recorder: Recorder, make: object, how: str
) -> None:
    assert callable(make)
    first, second = make(), make()
    store.lost, store.slow = how == "lost", 0.8 if how == "slow" else 0.0
    with pytest.raises(Unavailable, match="Nothing was sent"):
        await recorder.record(NewMessage(first, key_of(first)))
    await until_undone(store, first)
    store.slow = 0.0
    assert await recorder.record(NewMessage(second, key_of(second)))
    used = await IdempotencyStore(database).find("billing", "key", now=datetime.now(UTC))
    assert used == key_of(second)
    found = await store.find(first.id)
    assert found is not None
    assert "told 503" in found.steps[-1].reasons[0]


async def test_undone_as_soon_as_its_own_batch_has_ended(store: Unreliable) -> None:
    """However long the one beside it takes: until then a worker may find a message that is QUEUED,
    and its caller has been told to send again.
    """
    store.writes_at_once = 2
    recorder = Recorder(store, patience=0.5)
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


async def test_what_lands_after_it_was_looked_for_is_undone_as_well(
    store: Unreliable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection was cut, and the statement went on without us."""
    monkeypatch.setattr(module, "LOOKS", (0.0, 0.5, 1.0))
    message = queued()
    landing: list[asyncio.Task[list[bool]]] = []

    async def land_later(new: Sequence[NewMessage]) -> list[bool]:
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


async def test_what_is_on_its_way_already_keeps_its_key(
    database: Database, store: Unreliable, recorder: Recorder
) -> None:
    """A worker was faster. Then the caller's next try with this key is told what became of it."""
    message = queued()
    await recorder.record(NewMessage(message, key_of(message)))
    now = datetime.now(UTC)
    await store.claim(limit=1, lease=uuid4(), lease_until=now)
    assert await store.disown([message], key_of(message), "told 503") == set()
    assert await state_of(store, message) is Status.SENDING
    used = await IdempotencyStore(database).find("billing", "key", now=now)
    assert used == key_of(message)


async def test_of_a_batch_with_a_key_all_are_undone_or_none(
    database: Database, store: Unreliable, recorder: Recorder
) -> None:
    """One of them went out. Its caller's next try is told of all of them, so the others go, too."""
    batch = [queued(), queued()]
    await recorder.record_batch(batch, key_of(None))
    now = datetime.now(UTC)
    assert len(await store.claim(limit=1, lease=uuid4(), lease_until=now)) == 1
    assert await store.disown(batch, key_of(None), "told 503") == set()
    states = [await state_of(store, one) for one in batch]
    assert sorted(states, key=str) == [Status.QUEUED, Status.SENDING]
    used = await IdempotencyStore(database).find("billing", "key", now=now)
    assert used == key_of(None)


@pytest.mark.parametrize("make", [sending, queued])
async def test_what_a_repetition_was_told_of_stands(
    database: Database, store: Unreliable, recorder: Recorder, make: object
) -> None:
    assert callable(make)
    keys, message = IdempotencyStore(database), make()
    await recorder.record(NewMessage(message, key_of(message)))
    now = datetime.now(UTC)
    used = await keys.find("billing", "key", now=now)
    assert used is not None
    assert await keys.repeat(used, now)
    assert await store.disown([message], key_of(message), "told 503") == set()
    assert await state_of(store, message) is message.state
    again = await keys.find("billing", "key", now=now)
    assert again == replace(used, repeated=True)
    assert await keys.repeat(again, now)


async def test_nobody_is_told_of_what_was_just_undone(
    database: Database, store: Unreliable, recorder: Recorder
) -> None:
    keys, message = IdempotencyStore(database), queued()
    await recorder.record(NewMessage(message, key_of(message)))
    used = await keys.find("billing", "key", now=datetime.now(UTC))
    assert used is not None
    assert await store.disown([message], key_of(message), "told 503") == {message.id}
    assert not await keys.repeat(used, datetime.now(UTC))


async def test_nobody_elses_key_is_freed(
    database: Database, store: Unreliable, recorder: Recorder
) -> None:
    """Of a batch that was refused as a whole there is nothing to undo but its own claim."""
    right = replace(key_of(None), fingerprint=b"other", answer="right")
    assert await recorder.record_batch([queued()], right)
    assert await store.disown([], replace(key_of(None), answer="all refused"), "told 503") == set()
    assert await IdempotencyStore(database).find("billing", "key", now=datetime.now(UTC)) == right


async def test_one_that_the_database_refuses_spoils_no_other(recorder: Recorder) -> None:
    orphan = replace(sending(), resend_of=uuid4())
    results = await asyncio.gather(
        *(recorder.record(NewMessage(one)) for one in (sending(), orphan, sending())),
        return_exceptions=True,
    )
    assert results[0] is results[2] is True
    assert isinstance(results[1], StoreRefused)


async def test_after_the_end_nothing_is_taken(recorder: Recorder) -> None:
    await recorder.close()
    with pytest.raises(Unavailable, match="shut down"):
        await recorder.record(NewMessage(sending()))
