"""What was taken away stays away: from the disk, and from a database that is set back."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select

from app.model.audit import Action, Actor
from app.model.message import Message
from app.record import disks, retention
from app.record import erasure as erasures
from app.record.erasure import Eraser
from app.record.retention import Purger
from app.store.erasing.store import ErasureStore
from app.store.keys import KeyStore
from app.store.removals import RemovalStore
from app.store.retention import RetentionStore
from app.store.tables import metadata
from tests.record.rewinding import Rewinder
from tests.record.test_restore import beat
from tests.send.world import SECRET, Service, World, to, until

ENDING = "105"
"""iovox accepts it and sends no receipt."""
NUMBER = "447700900105"
TEXT, REFERENCE, MARK = "Dear Ms Confidential", "case-of-ms-confidential", "marked-body"
WORDS = (NUMBER, TEXT, REFERENCE, MARK)
OPERATOR = Actor("os:someone@here")


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, seconds in ((disks, 0.2), (erasures, 0.5), (retention, 0.5)):
        monkeypatch.setattr(module, "LOOK_EVERY", seconds)
    monkeypatch.setattr(disks, "TEXTS_EVERY", 0.5)
    for name in ("JUST_ANSWERED", "AT_ONCE"):
        monkeypatch.setattr(retention, name, timedelta(seconds=0.5))


async def settle_down(service: Service) -> None:
    """With a beat, and a look at what was taken away: they would come within seconds."""
    await asyncio.wait_for(service.runtime.journal.checked.wait(), 10)
    await beat(service)
    await service.runtime.disk.run_once()
    await beat(service)


async def post_receipt(service: Service, sms_activity_id: str, status: str = "DELIVERED") -> None:
    body = {"sms_activity_id": sms_activity_id, "status": status, "mark": MARK, "to": NUMBER}
    call: dict[str, Any] = {"content": json.dumps(body), "headers": {"X-Secret": SECRET}}
    assert (await service.client.post("/dlr", **call)).status_code == 200


async def send_to_her(service: Service) -> dict[str, Any]:
    """A message with its receipt, and a call that was not understood, in database and journal."""
    sent = await send_keyed(service)
    assert sent.status_code == 201, sent.text
    found: dict[str, Any] = sent.json()
    await post_receipt(service, found["sms_activity_id"])
    call: dict[str, Any] = {"content": f"about {NUMBER}", "headers": {"X-Secret": SECRET}}
    assert (await service.client.post("/dlr", **call)).status_code == 400
    await service.becomes(found["id"], "DELIVERED")
    return found


async def send_keyed(service: Service) -> httpx.Response:
    """The same request each time."""
    fields = to(ENDING, message=TEXT, reference=REFERENCE)
    return await service.send(fields, idempotency_key=f"for-{NUMBER}")


async def admin(service: Service) -> httpx.AsyncClient:
    client = httpx.AsyncClient(base_url=service.client.base_url, trust_env=False, timeout=30)
    client.headers.update(await service.key("ops", "admin"))
    return client


async def erase(service: Service) -> str:
    async with await admin(service) as client:
        await client.get("/v1/messages", params={"destination": NUMBER})
        asked = await client.post("/v1/erasures", json={"destination": NUMBER})
        assert asked.status_code == 202, asked.text
        path = f"/v1/erasures/{asked.json()['id']}"

        async def completed() -> bool:
            return (await client.get(path)).json()["completed_at"] is not None

        await until(completed, "the erasure to be completed", patience=30, every=0.2)
    return str(asked.json()["id"])


def on_disk(service: Service) -> bytes:
    folder: Path = service.runtime.settings.spool_dir
    files = [path for path in folder.rglob("*") if path.is_file()]
    return b"\n".join(path.read_bytes() for path in files)


async def in_database(service: Service) -> str:
    rows: list[str] = []
    async with service.runtime.database.read() as connection:
        for table in metadata.sorted_tables:
            found = await connection.execute(select(*table.c))
            rows += [f"{table.name}: {tuple(row)!r}" for row in found]
    return "\n".join(rows)


async def test_nothing_of_her_is_left_on_the_disk(world: World) -> None:
    iovox = await world.iovox()
    service = await world.service(iovox)
    await settle_down(service)
    hers = await send_to_her(service)
    other = (await service.send(to("205", message="for someone else"))).json()
    before = on_disk(service)
    assert all(word.encode() in before for word in WORDS)
    await erase(service)
    after = on_disk(service)
    assert [word for word in WORDS if word.encode() in after] == []
    assert b"for someone else" in after
    await post_receipt(service, hers["sms_activity_id"], "FAILED")
    late = on_disk(service)
    assert late.count(hers["sms_activity_id"].encode()) > after.count(
        hers["sms_activity_id"].encode()
    )
    assert [word for word in WORDS if word.encode() in late] == []
    assert service.runtime.journal.failure is None
    for one in (hers, other):
        assert (await service.look(one["id"]))["status"] in ("DELIVERED", "SUBMITTED")


async def test_a_database_set_back_is_erased_again(world: World, rewinder: Rewinder) -> None:
    iovox = await world.iovox()
    service = await world.service(iovox)
    await settle_down(service)
    hers = await send_to_her(service)
    administrator = await admin(service)  # its key is in what is put back
    await beat(service)
    with_her = await asyncio.to_thread(rewinder.keep)
    erasure = await erase(service)
    await settle_down(service)
    await asyncio.to_thread(rewinder.put_back, with_her)

    async def gone() -> bool:
        found = await in_database(service)
        return not any(word in found for word in WORDS)

    await until(gone, "the database to be erased again", patience=30, every=0.3)
    async with administrator as client:

        async def completed() -> bool:
            return "completed_at" in (await client.get(f"/v1/erasures/{erasure}")).json()

        await until(completed, "the erasure to be back", patience=30, every=0.2)
        again = (await client.get(f"/v1/erasures/{erasure}")).json()
        assert again["completed_at"] is not None
        assert again["counts"]["messages"] == 1
        shown = (await client.get(f"/v1/messages/{hers['id']}")).json()
    assert (shown["status"], shown["destination"], shown["message"]) == ("DELIVERED", None, None)
    assert shown["erased_at"] is not None
    assert [word for word in WORDS if word.encode() in on_disk(service)] == []


async def test_what_was_queued_is_not_sent_after_all(world: World, rewinder: Rewinder) -> None:
    """`dlr erase` has no journal of its own: that it cancelled is known by what was erased."""
    service = await world.service(await world.iovox())
    await settle_down(service)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    queued = (await service.send(to(ENDING, message=TEXT, send_at=later))).json()
    await beat(service)
    before = await asyncio.to_thread(rewinder.keep)
    found = await service.runtime.messages.find(UUID(queued["id"]))
    assert found is not None
    eraser = Eraser(
        ErasureStore(service.runtime.database),
        cancel=lambda one: _cancelled(service, one),
        key=None,
        announce=lambda: None,
        wake=lambda: None,
    )
    await eraser.request(NUMBER, OPERATOR)
    await eraser.run_once()

    async def is_erased() -> bool:
        return (await service.look(queued["id"]))["erased_at"] is not None

    await until(is_erased, "it to be erased")  # the service's own eraser may have begun it
    await settle_down(service)
    await asyncio.to_thread(rewinder.put_back, before)
    await until(is_erased, "it to be erased again", patience=30, every=0.2)
    assert (await service.look(queued["id"]))["status"] == "CANCELLED"
    assert TEXT not in await in_database(service)


async def _cancelled(service: Service, message: Message) -> bool:
    store = service.runtime.messages
    return await store.cancel(message, datetime.now(UTC)) is not None


async def test_set_back_to_before_she_was_there(world: World, rewinder: Rewinder) -> None:
    """Her message comes back from the journal: its status and times, and nothing of her."""
    iovox = await world.iovox()
    service = await world.service(iovox)
    await settle_down(service)
    without_her = await asyncio.to_thread(rewinder.keep)
    hers = await send_to_her(service)
    await erase(service)
    await settle_down(service)
    await asyncio.to_thread(rewinder.put_back, without_her)
    await beat(service)  # until then it may read the file that was

    async def is_erased() -> bool:
        answer = await service.client.get(f"/v1/messages/{hers['id']}")
        return answer.status_code == 200 and answer.json()["erased_at"] is not None

    await until(is_erased, "her message to be back and erased", patience=30, every=0.2)
    assert (await service.look(hers["id"]))["status"] == "DELIVERED"
    found = await in_database(service)
    assert [word for word in WORDS if word in found] == []
    assert (await send_keyed(service)).json()["id"] == hers["id"]
    assert (await iovox.counts())["by_message_id"] == {hers["id"]: 1}


async def test_a_revoked_key_and_the_audit_of_it(world: World, rewinder: Rewinder) -> None:
    service = await world.service(await world.iovox())
    await settle_down(service)
    key = await service.key("shipping", "read")
    keys = KeyStore(service.runtime.database)
    (shipping,) = [one for one in await keys.all() if one.app == "shipping"]
    await beat(service)
    before = await asyncio.to_thread(rewinder.keep)
    entry = OPERATOR.did(Action.REVOKE_KEY, shipping.id)
    assert await keys.revoke(shipping.id, entry=entry)
    await settle_down(service)
    await asyncio.to_thread(rewinder.put_back, before)

    async def refused() -> bool:
        answer = await service.client.get("/v1/messages", headers=key)
        return answer.status_code == 401

    await until(refused, "the key to be revoked again", patience=30, every=0.2)
    async with await admin(service) as client:
        told = (await client.get("/v1/audit", params={"what": shipping.id})).json()["entries"]
    assert [(one["action"], one["who"]) for one in told] == [("key.revoke", OPERATOR.who)]


async def test_what_was_purged_is_purged_again(world: World, rewinder: Rewinder) -> None:
    service = await world.service(await world.iovox())
    await settle_down(service)
    sent = (await service.send(to(ENDING))).json()
    await service.becomes(sent["id"], "SUBMITTED")
    await beat(service)
    before = await asyncio.to_thread(rewinder.keep)
    purger = Purger(RetentionStore(service.runtime.database), rest=0)
    await purger.purge(datetime.now(UTC) + timedelta(seconds=1), actor=OPERATOR)
    await settle_down(service)
    assert (await service.client.get(f"/v1/messages/{sent['id']}")).status_code == 404
    await asyncio.to_thread(rewinder.put_back, before)

    async def gone() -> bool:
        return (await service.client.get(f"/v1/messages/{sent['id']}")).status_code == 404

    await beat(service)  # which sees that it was set back
    await settle_down(service)
    await until(gone, "the message to be purged again", patience=30, every=0.2)
    await settle_down(service)
    assert await gone()


async def test_no_text_is_kept_anywhere_once_iovox_has_answered(world: World) -> None:
    service = await world.service(await world.iovox(), keep_texts_for=0.0)
    await settle_down(service)
    sent = await service.send(to(ENDING, message=TEXT, reference=REFERENCE))
    assert sent.status_code == 201

    async def nowhere() -> bool:
        return TEXT not in await in_database(service) and TEXT.encode() not in on_disk(service)

    await until(nowhere, "the text to be gone", patience=60, every=0.2)
    assert NUMBER.encode() in on_disk(service)
    again = await service.post(f"/v1/messages/{sent.json()['id']}/resend")
    assert again.status_code == 409
    assert "its text was not kept" in again.json()["detail"]


@pytest.mark.parametrize("has", [True, False])
async def test_which_texts_a_journal_may_keep(world: World, has: bool) -> None:
    service = await world.service(await world.iovox())
    sent = UUID((await service.send(to(ENDING))).json()["id"])
    ids = {sent} if has else {uuid4()}
    gone = await RemovalStore(service.runtime.database).without_text(ids)
    assert gone == (set() if has else ids)
