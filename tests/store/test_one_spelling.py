"""The migration that gives every sms_activity_id one spelling, with rows that become the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic import command
from sqlalchemy import Connection, insert, select, text

from app.model.receipt import Receipt
from app.model.status import Status
from app.store.engine import Database
from app.store.history import HistoryStore
from app.store.messages import MessageStore
from app.store.receipts import ReceiptStore
from app.store.schema import migrate
from app.store.tables import deliveries, events, messages, receipts
from tests.store import samples
from tests.store.emptied import emptied
from tests.store.samples import RECEIVED_AT, acceptance, arrival, found, message, recorded
from tests.store.test_schema import INDEXES_ON_EXPRESSIONS, config, differences

pytestmark = INDEXES_ON_EXPRESSIONS

SID = "d454cfe0-a835-11e6-9852-d43d7ed6ce4c"
LOUD, BRACED, PADDED = SID.upper(), f"{{{SID}}}", f" {SID}\n"


def spelt(sms_activity_id: str, *of: object, **fields: Any) -> Receipt:
    """A receipt as the code before read it: under the id as it came."""
    status, second = of
    read = samples.understood(arrival(SID, str(status), int(str(second)), **fields))
    return read._replace(sms_activity_id=sms_activity_id)


@pytest.fixture
async def before(shared_url: str) -> AsyncIterator[Database]:
    """An empty database that the stores can fill as the code before this migration did."""
    async with emptied(shared_url) as opened:
        yield opened


async def bring_along(database: Database) -> None:
    """Go back to before this migration, and through it and all later ones once more."""
    async with database.write() as connection:
        await connection.run_sync(lambda sync: command.downgrade(config(sync), "0003_telling"))
    await migrate(database)
    database.drop_idle()  # as a service does: a type that is made anew has another number


async def rows(database: Database, table: Any) -> list[dict[str, Any]]:
    async with database.read() as connection:
        return [row._asdict() for row in await connection.execute(select(table))]


async def accepted(database: Database, sms_activity_id: str) -> UUID:
    """A message that iovox accepted under this id."""
    store = MessageStore(database)
    new = message()
    await store.add(recorded(new))
    await store.accepted([acceptance(new, sms_activity_id)])
    return new.id


async def statuses(database: Database) -> list[str]:
    return [row["status"] for row in sorted(await rows(database, events), key=lambda r: r["id"])]


async def test_nothing_to_do_changes_nothing(before: Database) -> None:
    await accepted(before, SID)
    await ReceiptStore(before).add([spelt(SID, "DELIVERED", 5), spelt("AbC", "FAILED", 1)], [])
    tables = (messages, deliveries, receipts, events)
    was = [await rows(before, table) for table in tables]
    for event in was[-1]:
        event["digest"] = None  # a later migration adds it, and waits for the log otherwise
    await bring_along(before)
    assert [await rows(before, table) for table in tables] == was
    assert await differences(before) == []


async def test_a_message_keeps_all_it_had(before: Database) -> None:
    spellings = {}
    for write in (str.upper, "{{{}}}".format, " {}\n".format, lambda sid: f"{{{sid.upper()}}}"):
        sid = str(uuid4())
        spelling = write(sid)
        spellings[sid] = spelling, await accepted(before, spelling)
        await ReceiptStore(before).add([spelt(spelling, "DELIVERED", 5)], [])
    told = await statuses(before)
    await bring_along(before)
    for sid, (spelling, one) in spellings.items():
        for name in (sid, spelling, str(one)):
            record = await found(HistoryStore(before), name)
            assert (record.sms_activity_id, record.status) == (sid, "DELIVERED")
            assert [receipt.status for receipt in record.receipts] == ["DELIVERED"]
    assert await statuses(before) == told == ["SUBMITTED", "DELIVERED"] * 4
    assert {row["sms_activity_id"] for row in await rows(before, events)} == spellings.keys()


async def test_opaque_ids_keep_their_case_and_lose_their_padding(before: Database) -> None:
    await ReceiptStore(before).add(
        [spelt("00AbC", "FAILED", 1), spelt("\u00a0X-9\t", "FAILED", 1), spelt("é", "FAILED", 1)],
        [],
    )
    await bring_along(before)
    ids = {row["sms_activity_id"] for row in await rows(before, receipts)}
    assert ids == {row["sms_activity_id"] for row in await rows(before, deliveries)}
    assert ids == {"00AbC", "X-9", "é"}


async def test_receipts_that_were_nobodys_reach_their_message(before: Database) -> None:
    """The answer had one spelling, the receipts another."""
    one = await accepted(before, SID)
    store = ReceiptStore(before)
    await store.add([spelt(LOUD, "ACKNOWLEDGED", 1), spelt(LOUD, "DELIVERED", 9)], [])
    await store.add([spelt(BRACED, "FAILED", 20), spelt(BRACED, "odd", 21)], [])
    await bring_along(before)
    record = await found(HistoryStore(before), one)
    assert (record.status, record.status_at) == ("DELIVERED", samples.at(9))
    assert record.contradictory
    assert len(record.receipts) == 4
    (delivery,) = await rows(before, deliveries)
    assert (delivery["sms_activity_id"], delivery["message_id"]) == (SID, one)
    assert delivery["app"] == "billing"
    assert delivery["submitted_key"]
    assert await statuses(before) == ["SUBMITTED", "ACKNOWLEDGED", "FAILED", "DELIVERED"]


async def test_a_status_that_was_told_is_not_told_again(before: Database) -> None:
    await accepted(before, LOUD)
    store = ReceiptStore(before)
    await store.add([spelt(LOUD, "FAILED", 5)], [])
    await store.add([spelt(SID, "ACKNOWLEDGED", 1), spelt(SID, "FAILED", 5)], [])
    await bring_along(before)
    assert await statuses(before) == ["SUBMITTED", "FAILED"]
    (delivery,) = await rows(before, deliveries)
    assert (delivery["status"], delivery["seen"]) == ("FAILED", 2)


async def test_the_same_receipt_is_one_with_its_arrivals_added_up(before: Database) -> None:
    store = ReceiptStore(before)
    times = {SID: 2, LOUD: 3, PADDED: 1}
    for spelling, count in times.items():
        for _ in range(count):
            await store.add([spelt(spelling, "DELIVERED", 5)], [])
    every = {row["id"] for row in await rows(before, receipts)}
    earlier = RECEIVED_AT - timedelta(hours=1)
    async with before.write() as connection:
        loud = receipts.c.sms_activity_id == LOUD
        await connection.execute(receipts.update().where(loud).values(received_at=earlier))
    await bring_along(before)
    (row,) = await rows(before, receipts)
    assert (row["sms_activity_id"], row["times_seen"], row["received_at"]) == (SID, 6, earlier)
    also = {
        UUID(str(one)) for one in (json.loads(row["also"]) if before.is_sqlite else row["also"])
    }
    assert len(also) == 5
    assert every == {row["id"], *(every & also)}
    # A replay of any of these arrivals is still none that is new.
    for name in every:
        again = spelt(SID, "DELIVERED", 5, name=name)
        await ReceiptStore(before).add([again], [])
    assert [row["times_seen"] for row in await rows(before, receipts)] == [6]


async def test_two_messages_never_share_an_id(before: Database) -> None:
    first = await accepted(before, LOUD)
    second = await accepted(before, BRACED)
    await ReceiptStore(before).add(
        [spelt(LOUD, "DELIVERED", 5), spelt(BRACED, "FAILED", 6), spelt(PADDED, "EXPIRED", 7)], []
    )
    await bring_along(before)
    history = HistoryStore(before)
    one, other = await found(history, first), await found(history, second)
    assert (one.sms_activity_id, one.status, one.seen) == (SID, "DELIVERED", 3)
    assert (other.sms_activity_id, other.status) == (BRACED, "FAILED")
    assert (await found(history, SID)).message == one.message


async def test_what_knows_no_status_stays_unknown(before: Database) -> None:
    await ReceiptStore(before).add([spelt(LOUD, "odd", 5), spelt(SID, "odder", 6)], [])
    await bring_along(before)
    (delivery,) = await rows(before, deliveries)
    assert (delivery["sms_activity_id"], delivery["status"]) == (SID, Status.UNKNOWN)


async def test_thousands_at_once_go_by_statements_for_all(before: Database) -> None:
    ids = [str(uuid4()) for _ in range(3_000)]
    async with before.write() as connection:
        await connection.execute(
            insert(deliveries), [{"sms_activity_id": i.upper(), "status": "UNKNOWN"} for i in ids]
        )
    started = datetime.now(UTC)
    await bring_along(before)
    assert datetime.now(UTC) - started < timedelta(seconds=10)
    assert {row["sms_activity_id"] for row in await rows(before, deliveries)} == set(ids)


async def test_the_way_back_loses_nothing(before: Database) -> None:
    await accepted(before, LOUD)
    await bring_along(before)

    def down_and_up(sync: Connection) -> None:
        command.downgrade(config(sync), "0003_telling")
        command.upgrade(config(sync), "head")

    async with before.write() as connection:
        await connection.run_sync(down_and_up)
        left = await connection.execute(text("select sms_activity_id from messages"))
        assert left.scalars().all() == [SID]


async def test_an_answer_and_receipts_in_any_spelling_meet(before: Database) -> None:
    await bring_along(before)
    one = await accepted(before, SID)
    calls = [arrival(name, "DELIVERED", 5) for name in (SID, LOUD, BRACED, PADDED)]
    await ReceiptStore(before).add([samples.understood(call) for call in calls], [])
    record = await found(HistoryStore(before), one)
    assert (record.status, [r.times_seen for r in record.receipts]) == ("DELIVERED", [4])
