"""Rows that somebody other than the service changed, added or deleted are found and named."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, true, update
from uuid_utils.compat import uuid7

from app.model.audit import Action, Actor, Entry
from app.model.message import Message, Request
from app.model.status import Status
from app.record.evidence.verifying import verify
from app.store.audit import AuditStore
from app.store.evidence.pending import enqueue
from app.store.evidence.removals import (
    record_erasure_without_message,
    record_message_erasure,
    record_purge,
    record_texts_purge,
)
from app.store.evidence.rows import PendingFact
from app.store.evidence.salts import delete_salts
from app.store.tables import (
    audit,
    deliveries,
    evidence_facts,
    evidence_pending,
    evidence_tiles,
    messages,
    metadata,
    receipts,
)
from tests.record.evidence.test_log import facts
from tests.record.evidence.world import KEY, World
from tests.store.samples import message, outcome, receipt

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def with_history(world: World) -> Message:
    await world.drain()
    of, refused = message(), message()
    await world.send(of, refused)
    await world.messages.settle([outcome(refused, Status.REJECTED)])
    await world.accept(of, "a1")
    await world.receive(receipt("a1", "ACKNOWLEDGED", 1), receipt("a1", "DELIVERED", 5))
    await world.log.checkpoint()
    return of


async def test_all_is_well(world: World) -> None:
    await with_history(world)
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
    await with_history(world)
    statement, words = CHANGES[name]
    await world.change(statement)
    findings = (await world.audit()).findings
    assert any(words in finding for finding in findings), findings


async def test_a_row_that_was_made_by_somebody_else_is_named(world: World) -> None:
    await with_history(world)
    async with world.database.read() as connection:
        row = (await connection.execute(select(receipts).limit(1))).one()
    made = dict(row._mapping) | {"sms_activity_id": "forged", "id": message().id}
    made["received_at"] = made["received_at"].replace(year=2030)
    await world.change(insert(receipts).values(made))
    [finding] = (await world.audit()).findings
    assert "of forged is not in the log" in finding


async def test_a_purge_is_a_fact_and_no_tampering(world: World) -> None:
    await with_history(world)
    async with world.database.write() as connection:
        await connection.execute(delete(receipts))
        await connection.execute(delete(deliveries))
        await enqueue(connection, [PendingFact(None, "purged", {"sms_activity_ids": ["a1"]})])
    await world.drain()
    found = await world.audit()
    assert found.findings == []
    assert found.purged == 2


async def test_what_was_erased_verifies_and_is_no_tampering(world: World) -> None:
    of = await with_history(world)
    async with world.database.write() as connection:
        await connection.execute(update(messages).values(destination="", message=""))
        await connection.execute(update(receipts).values(body=b""))
        await delete_salts(connection, messages=[of.id], sms_activity_ids=["a1"])
        await enqueue(connection, [PendingFact(of.id, "erased", {})])
    await world.drain()
    report = verify(await world.documents.of_message(of.id), keys=[KEY.verifier])
    assert not report.faults
    assert sum("is not shown" in note for note in report.notes) == 4
    findings = (await world.audit()).findings
    assert all(str(of.id) not in finding for finding in findings)


async def test_an_erasure_by_the_service_is_in_the_log(world: World) -> None:
    of = await with_history(world)
    await world.log.checkpoint()
    async with world.database.write() as connection:
        await record_message_erasure(connection, [SimpleNamespace(id=of.id, sms_activity_id="a1")])
        await connection.execute(
            update(messages).where(messages.c.id == of.id).values(destination="", message="")
        )
        await connection.execute(update(receipts).values(body=b""))
    await world.drain()
    assert (await world.audit()).findings == []


async def test_dropped_texts_and_purged_messages_are_in_the_log(world: World) -> None:
    of = await with_history(world)
    later = datetime.now(UTC) + timedelta(days=1)
    async with world.database.write() as connection:
        await connection.execute(update(messages).where(messages.c.id == of.id).values(message=""))
        await record_texts_purge(connection, [of.id], later)
    await world.drain()
    assert (await world.audit()).findings == []
    report = verify(await world.documents.of_message(of.id), keys=[KEY.verifier])
    assert not report.faults
    assert [note.split(":")[:2] for note in report.notes if "not shown" in note] == [
        ["Fact 1 (recorded)", " text is not shown"]
    ]
    async with world.database.write() as connection:
        await connection.execute(delete(receipts))
        await connection.execute(delete(deliveries))
        await connection.execute(delete(messages).where(messages.c.id == of.id))
        await record_purge(connection, later, messages=[of.id], sms_activity_ids=["a1"])
    await world.drain()
    assert (await world.audit()).findings == []


async def entry_of(world: World, **how: Any) -> Entry:
    """An entry of the audit, in the log."""
    actor = Actor("person:Eve", "support", "192.0.2.1")
    made = actor.did(Action.SEARCH, **{"destination": "447700900123"} | how)
    await AuditStore(world.database).append([made])
    await world.drain()
    return made


async def test_an_entry_of_the_audit_is_a_fact_without_its_values(world: World) -> None:
    await world.drain()
    made = await entry_of(world, reference="order-42", details={"format": "csv"}, what="abc")
    [fact] = [fact for fact in await facts(world) if fact["type"] == "audited"]
    assert (fact["entry"], fact["number"], fact["previous"]) == (str(made.id), 1, None)
    assert (fact["action"], fact["app"], fact["what"]) == ("messages.search", "support", "abc")
    assert fact["times"] == 1
    text = json.dumps(fact)
    for value in ("Eve", "192.0.2.1", "447700900123", "order-42", "csv"):
        assert value not in text
    assert (await world.audit()).findings == []
    async with world.database.read() as connection:
        assert (await connection.execute(select(evidence_pending))).all() == []


async def test_an_entry_is_logged_once_however_often_it_is_written(world: World) -> None:
    await world.drain()
    store = AuditStore(world.database)
    made = await entry_of(world, once="one")
    again = Actor("person:Eve").did(Action.SEARCH, once="one")
    await store.append([made, again])
    await store.count([again])
    await world.drain()
    assert [f["entry"] for f in await facts(world) if f["type"] == "audited"] == [str(made.id)]
    assert (await world.audit()).findings == []


async def test_an_entry_that_was_erased_or_purged_is_no_tampering(world: World) -> None:
    await world.drain()
    erased, purged = await entry_of(world), await entry_of(world, destination=None)
    async with world.database.write() as connection:
        this = update(audit).where(audit.c.id == erased.id)
        await connection.execute(this.values(destination=None))
        await record_erasure_without_message(connection, entries=[erased.id])
        await connection.execute(delete(audit).where(audit.c.id == purged.id))
        await record_purge(connection, datetime.now(UTC), entries=[purged.id])
    await world.drain()
    found = await world.audit()
    assert found.findings == []
    assert found.purged == 1
    async with world.database.read() as connection:
        salts = (await connection.execute(select(evidence_facts.c.salts))).scalars().all()
    assert not any(salts)


async def test_an_entry_that_was_made_by_somebody_else_is_named(world: World) -> None:
    await world.drain()
    made = await entry_of(world)
    later = made.at + timedelta(minutes=2)
    await world.change(
        insert(audit).values(id=uuid7(), at=later, who="key:1", action="message.look")
    )
    [finding] = (await world.audit()).findings
    assert "is not in the log" in finding


SECOND = timedelta(seconds=1)
CHANGED: dict[str, Any] = {
    "messages.app": "another",
    "messages.origin": "1",
    "messages.destination": "447700900999",
    "messages.message": "Another",
    "messages.reference": "another",
    "messages.c2c_failover_link_id": "another",
    "messages.expiry": 77,
    "messages.created_at": SECOND,
    "messages.send_at": SECOND,
    "messages.steps": "[]",
    "messages.state": "CANCELLED",
    "messages.sms_activity_id": "another",
    "messages.submitted_at": SECOND,
    "receipts.sms_activity_id": "another",
    "receipts.digest": b"another",
    "receipts.id": uuid7(),
    "receipts.status": "EXPIRED",
    "receipts.status_key": 5,
    "receipts.delivery_status": "another",
    "receipts.status_reason": "99",
    "receipts.receipt_timestamp": "2020-01-01 00:00:00",
    "receipts.at": SECOND,
    "receipts.time_quality": "missing",
    "receipts.received_at": SECOND,
    "receipts.body": b"{}",
    "deliveries.sms_activity_id": "another",
    "deliveries.message_id": uuid7(),
    "deliveries.app": "another",
    "deliveries.status": "FAILED",
    "deliveries.status_key": 5,
    "deliveries.status_at": SECOND,
    "deliveries.seen": 2,
    "audit.at": SECOND,
    "audit.who": "person:Nobody",
    "audit.app": "another",
    "audit.address": "192.0.2.99",
    "audit.action": "message.look",
    "audit.what": "another",
    "audit.destination": "447700900999",
    "audit.reference": "another",
    "audit.details": "{}",
    "audit.times": 0,
    "evidence_facts.log": 2,
    "evidence_facts.idx": 100,
    "evidence_facts.subject": b"another",
    "evidence_facts.number": 9,
    "evidence_facts.hash": bytes(32),
    "evidence_facts.fact": "[]",
    "evidence_facts.salts": b"",
    "evidence_facts.steps": 9,
    "evidence_facts.attached": True,
    "evidence_logs.origin": "another",
    "evidence_logs.size": 3,
    "evidence_logs.root": bytes(32),
    "evidence_tiles.hashes": bytes(32),
    "evidence_checkpoints.size": 3,
    "evidence_checkpoints.note": "another",
    "evidence_checkpoints.stamp": b"another",
}
"""Every column that facts stand for, with what somebody else could write there."""


async def test_no_column_changes_unseen(world: World) -> None:
    await world.drain()
    request = Request("447923221231", "447723443321", "Hello", expiry=5, reference="r")
    of = replace(message(), request=request)
    await world.send(of)
    await world.messages.settle([outcome(of, Status.UNCONFIRMED)])
    await world.accept(of, "a1")
    await world.receive(receipt("a1", "ACKNOWLEDGED", 1), receipt("a1", "DELIVERED", 5))
    await entry_of(world, reference="order-42", details={"format": "csv"}, what="abc")
    await world.log.checkpoint()
    assert (await world.audit()).findings == []
    unseen = []
    for name, value in CHANGED.items():
        table_name, column = name.split(".")
        table = metadata.tables[table_name]
        async with world.database.read() as connection:
            rows = [dict(row._mapping) for row in await connection.execute(select(table))]
        written = value
        if value is SECOND:
            written = (rows[0][column] or world.clock) + SECOND
        one = {
            "receipts": receipts.c.status == "DELIVERED",
            "evidence_facts": evidence_facts.c.idx == 2,
        }.get(table_name, true())
        await world.change(update(table).where(one).values({column: written}))
        if not (await world.audit()).findings:
            unseen.append(name)
        await world.change(delete(table))
        await world.change(insert(table).values(rows))
    assert unseen == []
    assert (await world.audit()).findings == []


async def test_no_row_is_deleted_unseen(world: World) -> None:
    await with_history(world)
    await entry_of(world)
    await world.log.checkpoint()
    unseen = []
    for name in (
        "messages", "receipts", "audit", "evidence_facts", "evidence_tiles", "evidence_checkpoints",
    ):  # fmt: skip
        table = metadata.tables[name]
        async with world.database.read() as connection:
            rows = [dict(row._mapping) for row in await connection.execute(select(table))]
        await world.change(delete(table))
        found = (await world.audit()).findings
        if not any("deleted" in one or name == "evidence_tiles" for one in found):
            unseen.append((name, found))
        await world.change(insert(table).values(rows))
    assert unseen == []
