"""What an erasure and a purge by the service itself leave of the log: whole, and without salts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from uuid_utils.compat import uuid7

from app.model.audit import Action, Actor, AuditFilter
from app.model.erasure import Erasure
from app.model.message import Message
from app.record.evidence.verifying import verify
from app.record.retention import Purger
from app.store.audit import AuditStore
from app.store.erasing.store import ErasureStore
from app.store.evidence.rows import subject_of, subject_of_entry
from app.store.retention import RetentionStore
from app.store.tables import evidence_facts, messages, receipts
from tests.record.evidence import second_verifier
from tests.record.evidence.world import KEY, World
from tests.store.samples import arrival, message, receipt, understood

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBER = message().request.destination
ADMIN = Actor("key:1", "admin")


async def history(world: World) -> tuple[Message, Message]:
    """A message whose first receipt came before it was anybody's, and one of another number."""
    await world.drain()
    of, other = message(), message()
    other = replace(other, request=replace(other.request, destination="447700900999"))
    await world.send(of, other)
    await world.receive(receipt("a1", "BUFFERED", 1))
    await world.receive(understood(arrival("nobody", "DELIVERED", 1, to=NUMBER)))
    await AuditStore(world.database).append([ADMIN.did(Action.SEARCH, destination=NUMBER)])
    await world.drain()
    await world.accept(of, "a1")
    await world.accept(other, "b1")
    await world.receive(receipt("a1", "DELIVERED", 5), receipt("b1", "FAILED", 6))
    await world.log.checkpoint()
    return of, other


async def erase(world: World) -> None:
    store = ErasureStore(world.database)
    asked = datetime.now(UTC) + timedelta(seconds=1)
    erasure = Erasure(uuid7(), asked, ADMIN.who, ADMIN.app, None, NUMBER, {})
    await store.add(erasure, ADMIN.did(Action.ERASE, erasure.id))
    await store.erase_messages(erasure)
    await store.erase_mentions(erasure)


async def salts(world: World, *subjects: bytes) -> set[bytes]:
    async with world.database.read() as connection:
        query = select(evidence_facts.c.salts).where(evidence_facts.c.subject.in_(subjects))
        return set((await connection.execute(query)).scalars())


async def test_who_was_erased_has_a_history_without_values(world: World) -> None:
    of, other = await history(world)
    before = await world.log.checkpoint()
    await erase(world)
    [entry] = await AuditStore(world.database).page(AuditFilter(action=Action.SEARCH), limit=1)
    gone = (subject_of(of.id), subject_of("a1"), subject_of("nobody"), subject_of_entry(entry.id))
    assert await salts(world, *gone) == {b""}
    assert (await world.audit()).findings == []  # although the log has not heard of it
    await world.drain()

    document = await world.documents.of_message(of.id)
    second_verifier.verify(document, keys=[str(KEY.verifier)])
    report = verify(document, keys=[KEY.verifier])
    assert report.faults == []
    read = json.loads(document)
    said = [entry["fact"] for entry in read["facts"] if entry["fact"]["type"] == "receipt"]
    assert [fact["status"] for fact in said] == ["BUFFERED", "DELIVERED"]
    opened = [value for entry in read["facts"] for value in entry["opened"].values()]
    assert set(opened) == {None}
    assert NUMBER not in document.decode()

    size = json.loads(await world.documents.of_message(other.id))["logs"][0]["checkpoint"]
    assert int(size.split("\n")[1]) > before.size
    assert verify(
        await world.documents.of_message(other.id, since=before.size),
        keys=[KEY.verifier],
        checkpoint=before.note,
    ).is_verified
    assert (await world.audit()).findings == []


async def test_what_is_appended_while_it_is_erased_keeps_no_salts(world: World) -> None:
    of, _ = await history(world)
    await erase(world)
    async with world.database.write() as connection:  # by one that had read the values before
        these = evidence_facts.c.subject == subject_of(of.id)
        await connection.execute(evidence_facts.update().where(these).values(salts=bytes(32)))
    await world.drain()
    assert await salts(world, subject_of(of.id)) == {b""}


async def test_a_body_that_came_late_takes_its_salt_with_it(world: World) -> None:
    of, _ = await history(world)
    await erase(world)
    await world.drain()
    async with world.database.write() as connection:  # as one that was under way
        await connection.execute(receipts.update().values(body=b"late"))
        await connection.execute(
            evidence_facts.update()
            .where(evidence_facts.c.subject == subject_of(of.id))
            .values(salts=bytes(range(32)))
        )
    await ErasureStore(world.database).drop_late_bodies()
    assert await salts(world, subject_of(of.id)) == {b""}


async def test_what_was_purged_is_named_and_nothing_else_passes_for_it(world: World) -> None:
    of, other = await history(world)
    future = datetime.now(UTC) + timedelta(days=1)
    await Purger(RetentionStore(world.database), rest=0).drop_texts(future)
    await world.drain()
    assert (await world.audit()).findings == []
    report = verify(await world.documents.of_message(of.id), keys=[KEY.verifier])
    assert [note.split(":")[:2] for note in report.notes if "not shown" in note] == [
        ["Fact 2 (recorded)", " text is not shown"]
    ]
    await Purger(RetentionStore(world.database), rest=0).purge(future, actor=ADMIN)
    await world.drain()
    found = await world.audit()
    assert found.findings == []
    assert found.purged >= 5
    kept = message()
    await world.send(kept)
    await world.accept(kept, "c1")
    await world.log.checkpoint()
    assert await salts(world, subject_of(of.id), subject_of(other.id)) == {b""}
    await world.change(receipts.delete())
    await world.change(messages.delete())
    assert [f"Message {kept.id} was deleted"] == [
        finding for finding in (await world.audit()).findings if "Message" in finding
    ]
