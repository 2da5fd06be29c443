"""A number is erased wherever it can be, in any notation; what counts it stays as it was."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy import LargeBinary, Text, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY

from app.model.audit import Action
from app.model.message import Message
from app.model.receipt import Arrival, Receipt, Rejection, interpret
from app.model.status import Status
from app.model.webhook import (
    Attempt,
    AttemptResult,
    DeliveryState,
    Health,
    WebhookState,
    event_payload,
)
from app.receive.spool import Spool
from app.store.column_types import UtcTime
from app.store.console_sessions import ConsoleSessionStore, SignIn
from app.store.engine import Database
from app.store.erasing.disks import DiskStore
from app.store.outbox.store import OutboxStore
from app.store.presence import PresenceStore
from app.store.tables import messages, metadata, receipts, webhook_deliveries
from tests.care.places import ERASED, KEPT
from tests.lookup.world import World, faults, living

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBER = "447700900123"
WRITTEN = "+44 (0)7700 900-123"
TEXT = "Dear Ms Confidential"
REFERENCE = "case-of-ms-confidential"
BODY_MARK = "marked-body"
SOMEONE_ELSE = "447700900999"
NOTATIONS = ("447700900123", "+44 7700 900 123", "07700 900123", "0044-7700-900123", "7700.900.123")
ANY_NOTATION = re.compile(r"\D{0,3}".join("7700900123"))


@pytest_asyncio.fixture(loop_scope="module")
async def world(database_url: str) -> AsyncIterator[World]:
    """A test's own: it looks for what is left of her anywhere."""
    async with a_world(database_url) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_world(shared_url: str) -> AsyncIterator[World]:
    """For tests in which nobody is erased."""
    async with a_world(shared_url) as world:
        yield world


@asynccontextmanager
async def a_world(database_url: str) -> AsyncIterator[World]:
    async with living(
        database_url, webhook_allowed_networks="127.0.0.0/8", default_region="GB"
    ) as world:
        await world.add_key("billing", "read", "send", "webhooks")
        yield world


@dataclass
class Person:
    """Everything that there is of her, and of someone else beside her."""

    sent: Message
    rejected: Message
    queued: Message
    other: Message


async def everywhere(world: World) -> Person:
    """Puts the number, the text and the reference into every place there is."""
    app, runtime = world.as_app("billing"), world.service.runtime
    about: dict[str, Any] = {"destination": NUMBER, "text": TEXT, "reference": REFERENCE}
    webhook = (
        await app.post(
            "/v1/webhooks", json={"url": "https://127.0.0.1/x", "statuses": ["DELIVERED"]}
        )
    ).json()["id"]
    sent = await world.message(Status.SUBMITTED, sms_activity_id="hers", **about)
    await receipt(world, "hers", {"to": NOTATIONS[1], "mark": BODY_MARK})
    words = {"status_reason": f"to {NOTATIONS[1]}", "delivery_status": f"of {REFERENCE}"}
    await receipt(world, "hers", words)
    await receipt(world, "hers", {"status_reason": "2"}, f"heard of {NOTATIONS[2]}")
    rejected = await world.message(Status.REJECTED, **about)
    async with runtime.database.write() as connection:
        quoting = f"Destination Invalid: {NOTATIONS[3]} ({TEXT})"
        await connection.execute(
            update(messages)
            .where(messages.c.id == rejected.id)
            .values(
                errors=json.dumps([{"field": "destination", "message": quoting}]),
                steps=json.dumps([{"status": "REJECTED", "at": AT, "reasons": [quoting]}]),
            )
        )
    later = datetime.now(UTC) + timedelta(hours=1)
    queued = await world.message(Status.QUEUED, created_at=datetime.now(UTC), **about)
    async with runtime.database.write() as connection:
        await connection.execute(
            update(messages).where(messages.c.id == queued.id).values(next_attempt_at=later)
        )
    other = await world.message(
        Status.DELIVERED, destination=SOMEONE_ELSE, text="for someone else", reference="another"
    )
    calls = [f'{{"to": "{one}"}}'.encode() for one in NOTATIONS] + [b"about someone else"]
    await runtime.rejected.add(
        [], [Rejection(Arrival(uuid4(), datetime.now(UTC), call), 422, "odd") for call in calls]
    )
    await receipt(world, "nobody's", {"to": NOTATIONS[2]})
    await receipt(world, "nobody else's", {"to": SOMEONE_ELSE})
    batch = {"messages": [message(destination=f"{NUMBER}9999", message="x" * 161)]}
    key = {"Idempotency-Key": f"batch-{NUMBER}"}
    assert (await app.post("/v1/messages/batch", json=batch, headers=key)).status_code == 202
    batch = {"messages": [message(destination=f"x {NOTATIONS[1]}")]}
    key = {"Idempotency-Key": "another-batch"}
    assert (await app.post("/v1/messages/batch", json=batch, headers=key)).status_code == 202
    await fill_outbox(world, webhook)
    await left_by_people(world)
    for client in (world.admin, world.as_app("support")):
        await client.get("/v1/messages", params={"destination": WRITTEN})
        await client.get("/v1/messages", params={"reference": REFERENCE})
        await client.get("/v1/messages", params={"origin": NUMBER})
    return Person(sent, rejected, queued, other)


async def left_by_people(world: World) -> None:
    """Why the queue is held, and the page that somebody wants who is signing in."""
    database = world.service.runtime.database
    await PresenceStore(database).hold("someone", f"until {NOTATIONS[3]} has called back")
    page = f"/messages?q=%2B44%20{NUMBER[2:6]}%20{NUMBER[6:]}"
    until = datetime.now(UTC) + timedelta(minutes=10)
    await ConsoleSessionStore(database).begin_sign_in(
        b"state", SignIn("nonce", "verifier", page), until
    )


AT = "2026-11-22T09:00:00+00:00"


def message(**fields: Any) -> dict[str, Any]:
    return {"origin": "447700900001", "destination": NUMBER, "message": "Hello"} | fields


async def receipt(world: World, name: str, more: dict[str, str], status: str = "DELIVERED") -> None:
    body = {"sms_activity_id": name, "status": status, "status_reason": "1"} | more
    arrival = Arrival(uuid4(), datetime.now(UTC), json.dumps(body).encode())
    read = interpret(arrival)
    assert isinstance(read, Receipt)
    await world.service.runtime.receipts.add([read], [])


async def fill_outbox(world: World, webhook: str) -> None:
    outbox, lease = OutboxStore(world.service.runtime.database), uuid4()
    now = datetime.now(UTC)
    await outbox.claim([UUID(webhook)], lease=lease, now=now, until=now + timedelta(minutes=1))
    await outbox.fill(UUID(webhook), lease=lease, now=now, payload=event_payload)
    quoting = f"no customer {NOTATIONS[1]}: {TEXT}"
    attempts = [
        AttemptResult(
            one.id,
            one.replays,
            now,
            DeliveryState.PENDING,
            Attempt(now, 12, 500, "it answered 500", quoting),
            next_attempt_at=now,
        )
        for one in await outbox.due(UUID(webhook), now=now, limit=10, under_way=[])
        if REFERENCE in one.body
    ]
    health = Health(WebhookState.ACTIVE, None, 1, now, None)
    await outbox.record(UUID(webhook), attempts, health, lease=lease, now=now)


async def everything(of: Database) -> str:
    """All rows of all tables, as text."""
    found: list[str] = []
    async with of.read() as connection:
        for table in metadata.sorted_tables:
            for row in await connection.execute(select(*table.c)):
                found += [f"{table.name}: {tuple(row)!r}"]
    return "\n".join(found)


async def left_of_her(world: World) -> list[str]:
    """The rows that still tell something of her."""
    rows = (await everything(world.service.runtime.database)).splitlines()
    words = (TEXT, REFERENCE, BODY_MARK)
    return [
        row
        for row in rows
        if ANY_NOTATION.search(unquote(row)) or any(word in row for word in words)
    ]


async def erased(world: World, destination: str = WRITTEN) -> dict[str, Any]:
    """Ask for an erasure; what is answered once it is completed."""
    asked = await world.admin.post("/v1/erasures", json={"destination": destination})
    assert asked.status_code == 202, asked.text
    assert asked.headers["location"] == f"/v1/erasures/{asked.json()['id']}"
    return await completed(world, asked.json()["id"])


async def completed(world: World, erasure_id: str) -> dict[str, Any]:
    runtime = world.service.runtime
    for _ in range(3):
        await runtime.eraser.run_once()
        await runtime.disk.run_once()
    found: dict[str, Any] = (await world.admin.get(f"/v1/erasures/{erasure_id}")).json()
    return found


async def test_every_text_column_is_classified() -> None:
    columns = {
        str(column)
        for table in metadata.sorted_tables
        for column in table.c
        if isinstance(column.type, Text | LargeBinary | ARRAY)
    }
    assert not isinstance(UtcTime(), Text)
    assert columns == ERASED | KEPT.keys()
    assert not ERASED & KEPT.keys()


async def test_she_is_everywhere_before_and_nowhere_afterwards(world: World) -> None:
    person = await everywhere(world)
    before = await left_of_her(world)
    tables = {row.partition(":")[0] for row in before}
    assert tables == {
        "messages", "receipts", "rejected_receipts", "idempotency_keys", "webhook_deliveries",
        "audit", "deliveries", "queue_holds", "console_sign_ins",
    }  # fmt: skip
    stats = (await world.admin.get("/v1/stats", params={"by": "reason"})).json()
    found = await erased(world)
    assert await left_of_her(world) == []
    assert found["completed_at"] is not None
    assert found["counts"] == {
        "messages": 3,
        "cancelled": 1,
        "receipts": 4,
        "webhook_deliveries": 2,
        "rejected_calls": 5,
        "idempotency_keys": 2,
        "audit_entries": 6,
    }
    assert NUMBER not in json.dumps(found)
    after = (await world.admin.get("/v1/stats", params={"by": "reason"})).json()
    assert after["messages"] == stats["messages"]
    assert after["statuses"]["DELIVERED"] == stats["statuses"]["DELIVERED"] == 2
    await shows_the_rest(world, person)


async def shows_the_rest(world: World, person: Person) -> None:
    """Statuses and times stay; someone else's messages do entirely."""
    shown = (await world.admin.get(f"/v1/messages/{person.sent.id}")).json()
    for gone in ("destination", "message", "reference", "c2c_failover_link_id"):
        assert shown[gone] is None
    assert shown["erased_at"] is not None
    assert (shown["status"], shown["sms_activity_id"]) == ("DELIVERED", "hers")
    assert sorted(step["status"] for step in shown["history"]) == [
        "DELIVERED", "DELIVERED", "SUBMITTED", "UNKNOWN",
    ]  # fmt: skip
    refused = (await world.admin.get(f"/v1/messages/{person.rejected.id}")).json()
    assert refused["errors"][0]["message"].startswith("Destination Invalid: (erased)")
    cancelled = (await world.admin.get(f"/v1/messages/{person.queued.id}")).json()
    assert (cancelled["status"], cancelled["destination"]) == ("CANCELLED", None)
    other = (await world.admin.get(f"/v1/messages/{person.other.id}")).json()
    assert (other["destination"], other["message"]) == (SOMEONE_ELSE, "for someone else")
    rows = await everything(world.service.runtime.database)
    assert rows.count(SOMEONE_ELSE) >= 2  # the message, and the receipt of nobody
    assert "about someone else" in rows
    again = await world.admin.post(f"/v1/messages/{person.sent.id}/resend")
    assert again.status_code == 409
    assert "erased" in again.json()["detail"]
    listed = (await world.admin.get("/v1/messages", params={"destination": WRITTEN})).json()
    assert listed["messages"] == []
    csv = await world.admin.get("/v1/messages", headers={"Accept": "text/csv"})
    assert csv.status_code == 200
    feed = (await world.as_app("billing").get("/v1/events")).json()["events"]
    assert {one["reference"] for one in feed} == {None, "another"}


async def test_receivers_of_webhooks_are_told(world: World) -> None:
    person = await everywhere(world)
    await erased(world)
    async with world.service.runtime.database.read() as connection:
        told = await connection.execute(
            select(webhook_deliveries.c.body, webhook_deliveries.c.state).where(
                webhook_deliveries.c.type == "message.erased"
            )
        )
        rows = told.all()
    ids = {json.loads(row.body)["data"]["message_id"] for row in rows}
    assert ids == {str(one.id) for one in (person.sent, person.rejected, person.queued)}


async def test_bodies_that_come_later_are_dropped(world: World) -> None:
    await everywhere(world)
    unconfirmed = await world.message(Status.UNCONFIRMED, destination=NUMBER, text=TEXT)
    await erased(world)
    await receipt(world, "hers", {"to": NUMBER, "mark": BODY_MARK}, "FAILED")
    assert await left_of_her(world) == []
    # One that only its receipt names: its id is not known until then.
    body = {"sms_activity_id": "late", "status": "DELIVERED", "mark": BODY_MARK}
    arrival = Arrival(uuid4(), datetime.now(UTC), json.dumps(body).encode(), unconfirmed.id)
    late = interpret(arrival)
    assert isinstance(late, Receipt)
    await world.service.runtime.receipts.add([late], [])
    await world.service.runtime.eraser._store.drop_late_bodies()
    assert await left_of_her(world) == []
    async with world.service.runtime.database.read() as connection:
        rows = await connection.execute(
            select(receipts.c.sms_activity_id, receipts.c.status).where(
                receipts.c.sms_activity_id.in_(["hers", "late"])
            )
        )
        assert {tuple(row) for row in rows} == {
            ("hers", "DELIVERED"),
            ("hers", "FAILED"),
            ("hers", "UNKNOWN"),
            ("late", "DELIVERED"),
        }


async def test_where_the_number_is_forgotten_nothing_mentions_it(world: World) -> None:
    """A process that was too slow goes on with an erasure that another one has completed."""
    await everywhere(world)
    found = await erased(world, SOMEONE_ELSE)
    runtime = world.service.runtime
    completed_ = await runtime.eraser.find(UUID(found["id"]))
    assert completed_.number is None
    before = await left_of_her(world)
    assert not await runtime.eraser._go_on(completed_)
    await runtime.eraser._store.erase_mentions(completed_)
    assert not await runtime.eraser._store.erase_messages(completed_)
    assert await left_of_her(world) == before


@pytest.mark.postgresql
async def test_the_planners_statistics_hold_nothing_of_her(postgres_url: str) -> None:
    async with living(postgres_url, default_region="GB") as world:
        for _ in range(20):
            await world.message(Status.DELIVERED, destination=NUMBER, text=TEXT)
        database = world.service.runtime.database
        async with database.write() as connection:
            await connection.execute(text("analyze"))
        query = text("select count(*) from pg_stats where most_common_vals::text like :number")
        for is_left in (True, False):
            async with database.read() as connection:
                found = await connection.execute(query, {"number": f"%{NUMBER}%"})
                assert bool(found.scalar_one()) is is_left
            if is_left:
                assert (await erased(world))["completed_at"] is not None


async def test_messages_sent_afterwards_are_not_erased(world: World) -> None:
    await everywhere(world)
    await erased(world)
    new = await world.message(Status.SUBMITTED, destination=NUMBER, text="a new one")
    await world.service.runtime.eraser.run_once()
    assert (await world.admin.get(f"/v1/messages/{new.id}")).json()["message"] == "a new one"


async def test_what_is_being_sent_makes_it_a_conflict(world: World) -> None:
    sent = await world.message(Status.SUBMITTED, destination=NUMBER, text=TEXT)
    await world.message(Status.SENDING, destination=NUMBER)
    queued = await world.message(Status.QUEUED, destination=NUMBER)
    answer = await world.admin.post("/v1/erasures", json={"destination": NUMBER})
    assert answer.status_code == 409
    assert answer.headers["retry-after"] == "60"
    assert (await world.admin.get(f"/v1/messages/{sent.id}")).json()["message"] == TEXT
    assert (await world.admin.get(f"/v1/messages/{queued.id}")).json()["status"] == "QUEUED"


async def test_it_waits_for_every_disk(world: World) -> None:
    runtime = world.service.runtime
    store, elsewhere = DiskStore(runtime.database), uuid4()
    await store.see_disk(elsewhere, "another-host")
    await world.message(Status.SUBMITTED, destination=NUMBER, text=TEXT)
    found = await erased(world)
    assert found["erased_at"] is not None
    assert found["completed_at"] is None
    assert [one["host"] for one in found["waiting_for"]] == ["another-host"]
    await store.confirm(UUID(found["id"]), elsewhere)
    done = await completed(world, found["id"])
    assert done["completed_at"] is not None
    assert done["waiting_for"] == []
    assert await left_of_her(world) == []


async def test_a_disk_that_is_gone_for_good_is_struck(world: World) -> None:
    runtime = world.service.runtime
    store, gone = DiskStore(runtime.database), uuid4()
    await store.see_disk(gone, "gone-host")
    found = await erased(world)
    assert await store.strike_disk(gone)
    assert not await store.strike_disk(gone)
    assert (await completed(world, found["id"]))["completed_at"] is not None


async def test_the_spool_is_emptied_before_its_disk_confirms(world: World) -> None:
    runtime = world.service.runtime
    await world.message(Status.SUBMITTED, destination=NUMBER, text=TEXT, sms_activity_id="hers")
    bodies = [f'{{"sms_activity_id": "hers", "status": "DELIVERED", "to": "{NUMBER}"}}', NUMBER]
    waiting = [Arrival(uuid4(), datetime.now(UTC), body.encode()) for body in bodies]
    runtime.drainer._watch.report_down("as the test says")
    await runtime.spool.append(waiting)
    folder = runtime.settings.spool_dir
    assert NUMBER.encode() in read_all(folder)
    found = await erased(world)
    await runtime.watch.check_now()
    for _ in range(100):
        if not await runtime.spool.depth():
            break
        await asyncio.sleep(0.1)
    done = await completed(world, found["id"])
    assert done["completed_at"] is not None
    assert NUMBER.encode() not in read_all(folder)
    assert await left_of_her(world) == []


def read_all(folder: Path) -> bytes:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return b"".join(path.read_bytes() for path in files)


async def test_a_spool_with_something_in_it_confirms_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.open()
    spool.append([Arrival(uuid4(), datetime.now(UTC), NUMBER.encode())])
    assert not spool.cleanse()
    spool.forget(spool.oldest(1)[0][0])
    assert spool.cleanse()
    assert NUMBER.encode() not in read_all(tmp_path / "spool")
    spool.close()


async def test_a_process_that_is_killed_leaves_it_to_the_next(world: World) -> None:
    await world.message(Status.SUBMITTED, destination=NUMBER, text=TEXT)
    runtime = world.service.runtime
    asked = await world.admin.post("/v1/erasures", json={"destination": NUMBER})
    erasure = await runtime.eraser.find(UUID(asked.json()["id"]))
    assert await runtime.eraser._store.claim(erasure.id, lease=uuid4())  # and is gone
    await runtime.eraser.run_once()
    assert len(await left_of_her(world)) > 1
    assert not await runtime.eraser._store.claim(erasure.id, lease=uuid4())
    async with runtime.database.write() as connection:
        await connection.exec_driver_sql(
            "update erasures set lease_until = '2020-01-01 00:00:00.000000'"
        )
    assert (await completed(world, str(erasure.id)))["completed_at"] is not None


@pytest.mark.parametrize("destination", ["", "hello", "+44", "12345678901234567890", 5, None])
async def test_a_number_that_cannot_be_read(shared_world: World, destination: Any) -> None:
    await shared_world.message(Status.SUBMITTED, destination=NUMBER, text=TEXT)
    answer = await shared_world.admin.post("/v1/erasures", json={"destination": destination})
    assert "destination" in faults(answer)
    assert await left_of_her(shared_world) != []


async def test_only_an_admin_may(shared_world: World) -> None:
    for name in ("billing", "support", "sender"):
        answer = await shared_world.as_app(name).post("/v1/erasures", json={"destination": NUMBER})
        assert answer.status_code == 403
        found = f"/v1/erasures/{uuid4()}"
        assert (await shared_world.as_app(name).get(found)).status_code == 403
    told = (await shared_world.admin.get("/v1/audit", params={"action": Action.REFUSED})).json()
    assert {(one["app"], one["what"]) for one in told["entries"]} >= {
        (name, "POST /v1/erasures") for name in ("billing", "support", "sender")
    }
    assert (await shared_world.admin.get(f"/v1/erasures/{uuid4()}")).status_code == 404


async def test_an_erasure_is_audited_without_the_number(world: World) -> None:
    found = await erased(world)
    told = (await world.admin.get("/v1/audit", params={"action": Action.ERASE})).json()
    assert [one["what"] for one in told["entries"]] == [found["id"]]
    assert NUMBER not in json.dumps(told)
