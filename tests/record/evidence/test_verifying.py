"""Evidence of a message with three receipts, and everything that may be wrong with it."""

from __future__ import annotations

import pytest

from app.record.evidence.document import Documents
from app.record.evidence.verifying import verify
from tests.record.evidence.world import KEY, World
from tests.store.samples import message, receipt

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def evidence(world: World) -> bytes:
    await world.drain()
    of = message(text="Hello there — £5?")
    await world.send(of)
    await world.receive(receipt("a1", "BUFFERED", 1))
    await world.drain()
    await world.accept(of, "a1")
    await world.receive(receipt("a1", "ACKNOWLEDGED", 2), receipt("a1", "DELIVERED", 5))
    return await Documents(reader=world.reader, log=world.log).of_message(of.id)


async def test_it_verifies(world: World) -> None:
    report = verify(await evidence(world), keys=[KEY.verifier])
    assert not report.faults
    assert report.is_verified


async def test_a_byte_changed_anywhere_is_found(world: World) -> None:
    data = await evidence(world)
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 7)
        assert verify(bytes(changed), keys=[KEY.verifier]).faults, place
