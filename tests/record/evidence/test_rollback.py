"""A database that is rolled back, disks that are lost or new: no two checkpoints contradict."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from app.errors import Unavailable
from app.record.evidence.checkpoint import open_checkpoint
from app.record.evidence.cosigning import add_cosignatures
from app.record.evidence.log import checkpoint_of
from app.record.evidence.note import SigningKey, VerifierKey
from app.record.evidence.verifying import verify
from tests.record.evidence.test_log import facts
from tests.record.evidence.witness import Witness
from tests.record.evidence.world import KEY, World
from tests.store.samples import message, receipt

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def until_signed(world: World, size: int) -> None:
    """A checkpoint of this size is in the database."""
    async with asyncio.timeout(20):
        while True:
            newest = await world.reader.newest_checkpoint(1)
            if newest is not None and newest.size >= size:
                return
            await asyncio.sleep(0.02)


async def test_a_database_behind_the_disk_ends_the_log(world: World) -> None:
    of = message()
    await world.drain()
    await world.send(of)
    await world.accept(of, "a1")
    await world.log.checkpoint()
    before = await world.snapshot()
    await world.receive(receipt("a1", "ACKNOWLEDGED", 1))
    later = checkpoint_of(await world.log.checkpoint())

    await world.roll_back(before)
    await world.receive(receipt("a1", "DELIVERED", 5))
    newest = checkpoint_of(await world.log.checkpoint())

    assert newest.origin.startswith(f"{KEY.name}/")
    [began] = [fact for fact in await facts(world) if fact["type"] == "began"]
    assert began["because"] == "the database was rolled back behind a checkpoint"
    assert began["after"] == KEY.name
    assert began["after_known"] == {"size": later.size, "root": later.root.hex()}
    assert open_checkpoint(began["after_checkpoint"], [KEY.verifier]).size < later.size
    report = verify(await world.documents.of_message(of.id), keys=[KEY.verifier])
    assert not report.faults
    assert not (await world.audit()).findings


async def test_another_process_with_that_disk_sees_it_too(world: World) -> None:
    await world.drain()
    before = await world.snapshot()
    await world.receive(receipt("b1", "ACKNOWLEDGED", 1))
    await world.log.checkpoint()
    await world.roll_back(before)
    # As many facts again, so that only the root tells.
    await world.receive(receipt("b2", "ACKNOWLEDGED", 1))
    world.restart()
    assert checkpoint_of(await world.log.checkpoint()).origin != KEY.name


async def test_facts_without_a_checkpoint_are_proved_by_the_next_log(world: World) -> None:
    await world.log.checkpoint()
    of = message()
    await world.send(of)
    await world.accept(of, "c1")
    await world.drain()
    before = await world.snapshot()
    await world.receive(receipt("c1", "DELIVERED", 1))
    await world.log.checkpoint()
    await world.roll_back(before)

    document = await world.documents.of_message(of.id)
    read = json.loads(document)
    assert [entry["fact"]["type"] for entry in read["facts"]] == [
        "recorded",
        "attached",
        "continued",
    ]
    assert [entry["proof"] is None for entry in read["facts"]] == [True, True, False]
    assert not verify(document, keys=[KEY.verifier]).faults


async def test_a_new_disk_is_a_new_origin(world: World, tmp_path: Path) -> None:
    await world.log.checkpoint()
    world.restart(tmp_path / "new disk")
    await world.log.heartbeat()
    with pytest.raises(Unavailable):
        await world.log.append()
    world.later(seconds=20)
    await world.receive(receipt("d1", "DELIVERED", 1))
    newest = checkpoint_of(await world.log.checkpoint())
    assert newest.origin != KEY.name
    [began] = [fact for fact in await facts(world) if fact["type"] == "began"]
    assert began["because"] == "the disk with the log's checkpoints is gone"


async def test_the_same_disk_goes_on(world: World) -> None:
    first = checkpoint_of(await world.log.checkpoint())
    world.restart()
    await world.receive(receipt("e1", "DELIVERED", 1))
    assert checkpoint_of(await world.log.checkpoint()).origin == first.origin


async def test_a_checkpoint_is_signed_hourly_while_there_is_anything_new(world: World) -> None:
    await world.log.checkpoint()
    world.later(minutes=61)
    assert not await world.log.is_due()
    await world.receive(receipt("f1", "DELIVERED", 1))
    await world.drain()
    assert await world.log.is_due()
    await world.log.sign()
    assert not await world.log.is_due()


async def test_a_rotated_key_is_a_fact_and_both_sign(world: World) -> None:
    await world.log.checkpoint()
    second = SigningKey.generate(KEY.name)
    world.keys = (KEY, second)
    world.restart()
    await world.drain()
    newest = await world.log.checkpoint()
    [rotation] = [fact for fact in await facts(world) if fact["type"] == "rotation"]
    assert rotation["keys"] == [str(KEY.verifier), str(second.verifier)]
    for key in (KEY, second):
        open_checkpoint(newest.note, [key.verifier])


async def test_a_retired_key_stays_good_for_what_it_signed(world: World) -> None:
    """Evidence is given under a key of today, and the audit knows the ones before."""
    of = message()
    await world.drain()
    await world.send(of)
    await world.accept(of, "k1")
    old = await world.log.checkpoint()
    witness = Witness()
    cosigned = old.note + witness.line(old.note)
    keys = [VerifierKey.parse(witness.verifier)]
    await add_cosignatures(world.reader, cosigned, keys, now=world.clock)
    second = SigningKey.generate(KEY.name)
    for these in ((KEY, second), (second,)):
        world.keys = these
        world.restart()
        await world.drain()
    document = await world.documents.of_message(of.id)
    for given in ([second.verifier], []):
        assert verify(document, keys=given).faults == []
    assert (await world.audit()).findings == []


async def test_a_lost_key_is_a_new_name_and_what_it_signed_verifies(world: World) -> None:
    of = message()
    await world.drain()
    await world.send(of)
    await world.accept(of, "l1")
    await world.log.checkpoint()
    other = SigningKey.generate("log.example/second")
    world.keys = (other,)
    world.restart()
    await world.receive(receipt("l1", "DELIVERED", 5))
    document = await world.documents.of_message(of.id)
    for given in ([KEY.verifier, other.verifier], []):
        assert verify(document, keys=given).faults == []
    old, new = (log["origin"] for log in json.loads(document)["logs"])
    assert old == KEY.name
    assert new.startswith(f"{other.name}/")
    assert (await world.audit()).findings == []


async def test_a_replica_with_a_new_disk_joins_the_log(world: World, tmp_path: Path) -> None:
    first = checkpoint_of(await world.log.checkpoint())
    replica = World(world.database, tmp_path / "replica")
    await replica.log.heartbeat()
    with pytest.raises(Unavailable):  # the other has not been heard of since
        await replica.log.append()
    for one in (world, replica):
        one.later(seconds=6)
    await world.log.heartbeat()
    await world.receive(receipt("g1", "DELIVERED", 1))
    await replica.drain()
    await replica.log.heartbeat()
    signed = asyncio.create_task(replica.log.checkpoint())
    await until_signed(world, first.size + 1)
    await asyncio.sleep(0.1)
    assert not signed.done()  # before the other disk has it
    await world.log.heartbeat()
    newest = checkpoint_of(await signed)
    assert (newest.origin, newest.size) == (first.origin, first.size + 1)


async def test_the_disk_that_is_left_remembers_for_both(world: World, tmp_path: Path) -> None:
    await world.log.checkpoint()
    replica = World(world.database, tmp_path / "replica")
    await replica.log.heartbeat()
    for one in (world, replica):
        one.later(seconds=6)
    await world.log.heartbeat()
    await replica.drain()
    await replica.log.heartbeat()
    before = await world.snapshot()
    await world.receive(receipt("h1", "DELIVERED", 1))
    signed = asyncio.create_task(world.log.checkpoint())
    await until_signed(world, 2)
    await replica.log.heartbeat()
    shown = checkpoint_of(await signed)

    await world.roll_back(before)
    replica.later(seconds=20)  # the other one is gone
    await replica.receive(receipt("h2", "DELIVERED", 1))
    assert checkpoint_of(await replica.log.checkpoint()).origin != shown.origin
