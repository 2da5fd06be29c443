"""A row that was changed or deleted behind our back is found and named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from app.model.message import Message
from app.model.status import Status
from app.record.evidence.verifying import verify
from app.store.evidence.rows import ToldFact
from app.store.evidence.telling import (
    forget_values,
    tell,
    tell_of_erasure,
    tell_of_lost_texts,
    tell_of_purge,
)
from app.store.tables import (
    evidence_facts,
    evidence_tiles,
    messages,
    receipts,
)
from tests.record.evidence.world import KEY, World
from tests.store.samples import message, outcome, receipt

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def told(world: World) -> Message:
    await world.drain()
    of, refused = message(), message()
    await world.send(of, refused)
    await world.messages.settle([outcome(refused, Status.REJECTED)])
    await world.accept(of, "a1")
    await world.receive(receipt("a1", "ACKNOWLEDGED", 1), receipt("a1", "DELIVERED", 5))
    await world.log.checkpoint()
    return of


async def test_all_is_well(world: World) -> None:
    await told(world)
    await world.receive(receipt("a1", "FAILED", 6))  # it waits
    found = await world.audit()
    assert found.findings == []
    assert (found.facts, found.receipts, found.checkpoints) == (7, 3, 1)


CHANGES: dict[str, tuple[Any, str]] = {
    "a status": (
        update(receipts).where(receipts.c.status == "DELIVERED").values(status="FAILED"),
        "of a1 was changed: status",
    ),
    "a body": (
        update(receipts).where(receipts.c.status == "DELIVERED").values(body=b"{}"),
        "of a1 was changed: body",
    ),
    "a receipt less": (
        delete(receipts).where(receipts.c.status == "DELIVERED"),
        "of a1 was deleted",
    ),
    "a text": (
        update(messages).where(messages.c.state == "SUBMITTED").values(message="Another"),
        "was changed: text",
    ),
    "a text less": (
        update(messages).where(messages.c.state == "SUBMITTED").values(message=""),
        "was changed: text",
    ),
    "a step": (
        update(messages).where(messages.c.state == "REJECTED").values(steps="[]"),
        "its step REJECTED is gone",
    ),
    "a fact": (
        update(evidence_facts).where(evidence_facts.c.idx == 3).values(fact='{"v":1}'),
        "Fact 3 of log.example/receipts was changed",
    ),
    "a fact less": (
        delete(evidence_facts).where(evidence_facts.c.idx == 3),
        "Leaves 3 to 3 of log.example/receipts were deleted",
    ),
    "a tile": (
        update(evidence_tiles).values(hashes=bytes(32)),
        "Tile 0 of level 0 of log.example/receipts was changed",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_named(world: World, name: str) -> None:
    await told(world)
    statement, words = CHANGES[name]
    await world.change(statement)
    findings = (await world.audit()).findings
    assert any(words in finding for finding in findings), findings


async def test_a_row_that_was_made_by_somebody_else_is_named(world: World) -> None:
    await told(world)
    async with world.database.read() as connection:
        row = (await connection.execute(select(receipts).limit(1))).one()
    made = dict(row._mapping) | {"sms_activity_id": "forged", "id": message().id}
    made["received_at"] = made["received_at"].replace(year=2030)
    await world.change(insert(receipts).values(made))
    [finding] = (await world.audit()).findings
    assert "of forged is not in the log" in finding


async def test_a_purge_is_a_fact_and_no_tampering(world: World) -> None:
    await told(world)
    async with world.database.write() as connection:
        await connection.execute(delete(receipts))
        await tell(
            connection, [ToldFact(None, "purged", {"before": "2030-01-01T00:00:00.000000Z"})]
        )
    await world.drain()
    found = await world.audit()
    assert found.findings == []
    assert found.purged == 2


async def test_what_was_erased_verifies_and_is_no_tampering(world: World) -> None:
    of = await told(world)
    async with world.database.write() as connection:
        await connection.execute(update(messages).values(destination="", message=""))
        await connection.execute(update(receipts).values(body=b""))
        await forget_values(connection, [of.id], ["a1"])
        await tell(connection, [ToldFact(of.id, "erased", {})])
    await world.drain()
    report = verify(await world.documents.of_message(of.id), keys=[KEY.verifier])
    assert not report.faults
    assert sum("was erased" in note for note in report.notes) == 4
    findings = (await world.audit()).findings
    assert all(str(of.id) not in finding for finding in findings)


async def test_an_erasure_by_the_service_is_told_to_the_log(world: World) -> None:
    of = await told(world)
    await world.log.checkpoint()
    async with world.database.write() as connection:
        await tell_of_erasure(connection, [SimpleNamespace(id=of.id, sms_activity_id="a1")])
        await connection.execute(
            update(messages).where(messages.c.id == of.id).values(destination="", message="")
        )
        await connection.execute(update(receipts).values(body=b""))
    await world.drain()
    assert (await world.audit()).findings == []


async def test_dropped_texts_and_purged_messages_are_told_to_the_log(world: World) -> None:
    of = await told(world)
    later = datetime.now(UTC) + timedelta(days=1)
    async with world.database.write() as connection:
        await connection.execute(update(messages).where(messages.c.id == of.id).values(message=""))
        await tell_of_lost_texts(connection, [of.id], later)
    await world.drain()
    assert (await world.audit()).findings == []
    report = verify(await world.documents.of_message(of.id), keys=[KEY.verifier])
    assert not report.faults
    assert [note for note in report.notes if "erased" in note] == [
        "Fact 1 (recorded): text was erased; the fact itself stands"
    ]
    async with world.database.write() as connection:
        await connection.execute(delete(receipts))
        await connection.execute(delete(messages).where(messages.c.id == of.id))
        await tell_of_purge(connection, [of.id], ["a1"], later)
    await world.drain()
    assert (await world.audit()).findings == []
