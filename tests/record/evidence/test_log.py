"""What is appended, and in which order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.model.audit import Action, Actor
from app.model.status import Status
from app.record.evidence.log import checkpoint_of
from app.record.evidence.merkle import leaf_hash
from app.store.audit import AuditStore
from app.store.evidence.rows import subject_of
from tests.record.evidence.reference import mth
from tests.record.evidence.world import World
from tests.store.samples import message, outcome, receipt

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def facts(world: World) -> list[dict[str, Any]]:
    log = (await world.reader.logs())[-1]
    return [json.loads(row.text) for row in await world.reader.facts_from(log.id, 0, 10_000)]


async def names(world: World) -> list[str]:
    return [f"{fact['type']} {fact['number']}" for fact in await facts(world)]


async def test_a_message_with_its_receipts_is_one_chain(world: World) -> None:
    await world.drain()
    of = message(Status.QUEUED)
    await world.send(of)
    await world.drain()
    await world.accept(of, "a1")
    await world.receive(receipt("a1", "ACKNOWLEDGED", 1))
    await world.drain()
    await world.receive(receipt("a1", "DELIVERED", 5), receipt("a1", "DELIVERED", 5))
    await world.drain()

    assert await names(world) == [
        "began 1", "recorded 1", "step 2", "attached 3", "receipt 4", "receipt 5",
    ]  # fmt: skip
    found = (await facts(world))[1:]
    assert {fact["message"] for fact in found} == {str(of.id)}
    rows = await world.reader.facts([subject_of(of.id)])
    hashes = [leaf_hash(row.text.encode()).hex() for row in rows]
    assert [fact["previous"] for fact in found] == [None, *hashes[:-1]]


async def test_unmatched_receipts_are_joined_once_their_message_is_attached(world: World) -> None:
    await world.drain()
    of = message()
    await world.send(of)
    await world.receive(receipt("b1", "ACKNOWLEDGED", 1))
    await world.drain()
    await world.accept(of, "b1")
    await world.receive(receipt("b1", "DELIVERED", 5))
    await world.drain()

    found = await facts(world)
    assert await names(world) == ["began 1", "receipt 1", "recorded 1", "attached 2", "receipt 3"]
    [orphan] = await world.reader.facts([subject_of("b1")])
    assert found[1]["message"] is None
    assert found[3]["joins"] == {"number": 1, "hash": orphan.hash.hex()}
    assert found[4]["message"] == str(of.id)


async def test_a_refusal_is_a_step(world: World) -> None:
    await world.drain()
    of = message()
    await world.send(of)
    await world.messages.settle([outcome(of, Status.REJECTED)])
    await world.drain()
    assert await names(world) == ["began 1", "recorded 1", "step 2"]
    assert (await facts(world))[2]["status"] == "REJECTED"


async def test_a_repeated_receipt_is_logged_once(world: World) -> None:
    await world.drain()
    once = receipt("c1", "DELIVERED", 5)
    await world.receive(once, once)
    await world.receive(once)
    await world.receive(receipt("c1", "DELIVERED", 5))
    await world.drain()
    assert await names(world) == ["began 1", "receipt 1"]


async def test_enqueued_facts_count_as_lag_like_receipts(world: World) -> None:
    await world.drain()
    assert await world.reader.lag() == (False, None)
    entry = Actor("person:Eve").did(Action.SEE_REJECTED)
    await AuditStore(world.database).append([entry])
    assert await world.reader.lag() == (True, None)
    of = receipt("f1", "DELIVERED", 5)
    await world.receive(of)
    assert await world.reader.lag() == (True, of.arrival.received_at)
    await world.drain()
    assert await world.reader.lag() == (False, None)
    assert await names(world) == ["began 1", "receipt 1", "audited 1"]


async def test_nothing_is_collected_without_a_log(world: World) -> None:
    await world.receive(receipt("d1", "DELIVERED", 5))
    assert await world.reader.lag() == (False, None)


async def test_the_root_is_that_of_all_facts(world: World) -> None:
    await world.drain()
    for number in range(3):
        await world.receive(*(receipt(f"e{number}-{n}", "DELIVERED", n) for n in range(200)))
    checkpoint = checkpoint_of(await world.log.checkpoint())
    log = (await world.reader.logs())[-1]
    rows = await world.reader.facts_from(log.id, 0, 10_000)
    assert checkpoint.size == len(rows) == 601
    assert checkpoint.root == mth([row.text.encode() for row in rows])
