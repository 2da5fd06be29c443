"""Facts of receipts: PostgreSQL's statement makes most of them, and this process the others."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from sqlalchemy import func, select, update

from app.model.message import Message
from app.model.receipt import Receipt
from app.record.evidence.form import canonical_text, commitment, receipt_text
from app.store.evidence.rows import FactRow, StoredReceipt, subject_of
from app.store.tables import events, evidence_logs
from tests.record.evidence.world import World
from tests.store.samples import arrival, message, receipt, understood

pytestmark = pytest.mark.asyncio(loop_scope="module")

ODD = 'q"uo\\te é€😀\x7f\x01\t\n\u2028'


async def attached(world: World, sms_activity_id: str) -> Message:
    """A message of which the log has everything but receipts."""
    of = message()
    await world.send(of)
    await world.accept(of, sms_activity_id)
    await world.drain()
    return of


async def receipts_of(world: World, of: Message) -> list[tuple[FactRow, dict[str, Any]]]:
    rows = [(row, json.loads(row.text)) for row in await world.reader.facts([subject_of(of.id)])]
    return [(row, fact) for row, fact in rows if fact["type"] == "receipt"]


def written_here(row: FactRow, fact: dict[str, Any], stored: StoredReceipt) -> str:
    return receipt_text(
        log=canonical_text(fact["log"]),
        nonce=bytes.fromhex(fact["nonce"]),
        number=row.number,
        previous=bytes.fromhex(fact["previous"]),
        message=fact["message"],
        sms_activity_id=stored.sms_activity_id,
        receipt=stored.id,
        received_at=stored.received_at,
        status=stored.status,
        at=stored.at,
        time_quality=stored.time_quality,
        body=f'"{commitment(row.salts, stored.body)}"' if stored.body else None,
    )


@pytest.mark.parametrize(
    "odd",
    [
        understood(arrival(ODD, ODD, 5, delivery_status=ODD)),
        understood(arrival("x" * 255, "delivered", 5)),
        understood(arrival(ODD, "DELIVERED", receipt_timestamp="0001-01-01 00:00:00")),
        understood(arrival(ODD, "DELIVERED", receipt_timestamp="9999-12-31 23:59:59")),
        understood(arrival(ODD, "DELIVERED", receipt_timestamp="2020-10-25 01:30:00.000001")),
        understood(arrival(ODD, "DELIVERED", receipt_timestamp="yesterday")),
    ],
    ids=["texts", "long", "first-year", "last-year", "repeated-hour", "no-time"],
)
async def test_a_receipt_is_written_to_the_byte_wherever_that_is_done(
    world: World, odd: Receipt
) -> None:
    await world.drain()
    of = await attached(world, odd.sms_activity_id)
    await world.receive(odd)
    await world.drain()
    [(row, fact)] = await receipts_of(world, of)
    [stored] = await world.reader.receipts([odd.sms_activity_id])
    assert row.text == written_here(row, fact, stored)
    assert row.text.encode() == rfc8785.dumps(fact)
    assert (await world.audit()).findings == []


async def test_receipts_of_one_batch_follow_one_another(world: World) -> None:
    await world.drain()
    some = [await attached(world, f"b{n}") for n in range(3)]
    steps = ("ACKNOWLEDGED", "BUFFERED", "DELIVERED")
    for second, status in enumerate(steps):
        await world.receive(*(receipt(f"b{n}", status, second) for n in range(3)))
    await world.drain()
    for of in some:
        found = await receipts_of(world, of)
        assert [fact["status"] for _, fact in found] == list(steps)
        assert [row.number for row, _ in found] == [3, 4, 5]
        assert len({fact["nonce"] for _, fact in found} | {row.salts for row, _ in found}) == 6
    assert (await world.audit()).findings == []


async def test_a_receipt_without_an_event_waits_by_itself(world: World) -> None:
    await world.drain()
    of = await attached(world, "c1")
    late = (receipt("c1", "ACKNOWLEDGED", 1), receipt("c1", "ODD", 2))
    await world.receive(receipt("c1", "DELIVERED", 5))
    assert await world.reader.with_pending_receipts(["c1", "nobody"]) == {"c1"}
    await world.receive(*late, receipt("nobody", "DELIVERED", 5))
    assert await world.reader.with_pending_receipts(["c1", "nobody", "other"]) == {"c1", "nobody"}
    await world.drain()
    assert await world.reader.lag() == (False, None)
    logged = {fact["status"] for _, fact in await receipts_of(world, of)}
    assert logged == {"DELIVERED", "ACKNOWLEDGED", "ODD"}
    found = await world.audit()
    assert (found.findings, found.receipts) == ([], 4)


async def test_what_a_release_from_before_has_read_has_no_receipts(world: World) -> None:
    """It counts events by ``position``, and finds receipts by rows that this one does not write."""
    await world.drain()
    of = await attached(world, "d1")
    await world.receive(receipt("d1", "DELIVERED", 5))
    newest = select(func.max(events.c.id)).scalar_subquery()
    await world.change(update(evidence_logs).values(position=newest))
    assert (await world.reader.lag())[0]
    await world.drain()
    assert len(await receipts_of(world, of)) == 1
    assert await world.reader.lag() == (False, None)
