"""What was acknowledged and then forgotten by the database is there again; no text goes twice."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from tests.record.rewinding import Rewinder
from tests.send.world import SECRET, Iovox, Service, World, to, until

WITHOUT_RECEIPT = "105"
WITHIN = 30.0


async def receipt(service: Service, sms_activity_id: str) -> None:
    body: dict[str, str] = {
        "sms_activity_id": sms_activity_id,
        "status": "DELIVERED",
        "delivery_status": "handset",
        "status_reason": "0",
        "receipt_timestamp": "2026-05-06 18:37:37",
    }
    call: dict[str, Any] = {"content": json.dumps(body), "headers": {"X-Secret": SECRET}}
    try:
        response = await service.client.post("/dlr", **call)
    except httpx.ReadError:  # an idle connection that the server was just closing
        response = await service.client.post("/dlr", **call)
    assert response.status_code == 200, response.text


async def receipts_of(service: Service) -> Counter[str]:
    count = text("select sms_activity_id, sum(times_seen) n from receipts group by 1")
    async with service.runtime.database.read() as connection:
        return Counter({row[0]: int(row[1]) for row in await connection.execute(count)})


async def is_there(service: Service, sent: dict[str, httpx.Response]) -> bool:
    for key, response in sent.items():
        found = await service.client.get(f"/v1/messages/{response.json()['id']}")
        if found.status_code != 200:
            return False
        again = await service.send(to(WITHOUT_RECEIPT, reference=key), idempotency_key=key)
        if again.status_code != response.status_code or again.json() != response.json():
            return False
        assert again.headers["idempotency-replayed"] == "true"
    return True


async def send_and_receive(
    service: Service, *, sends: int, receipts: int
) -> tuple[dict[str, httpx.Response], list[str]]:
    keys = [uuid4().hex for _ in range(sends)]
    responses = await asyncio.gather(
        *(service.send(to(WITHOUT_RECEIPT, reference=key), idempotency_key=key) for key in keys)
    )
    assert {response.status_code for response in responses} == {201}
    ids = [uuid4().hex for _ in range(receipts)]
    await asyncio.gather(*(receipt(service, id_) for id_ in ids))
    return dict(zip(keys, responses, strict=True)), ids


async def assert_all_is_back(
    service: Service, iovox: Iovox, sent: dict[str, httpx.Response], ids: list[str]
) -> float:
    began = time.monotonic()

    async def back() -> bool:
        return set(ids) <= set(await receipts_of(service)) and await is_there(service, sent)

    await until(back, "what was acknowledged to be back", patience=WITHIN, every=0.2)
    took = time.monotonic() - began
    counts = await iovox.counts()
    assert set(counts["by_message_id"].values()) <= {1}
    assert (await receipts_of(service)) == Counter(ids)
    return took


async def settle_down(service: Service) -> None:
    await asyncio.wait_for(service.runtime.journal.checked.wait(), 10)
    await beat(service)


async def beat(*services: Service) -> None:
    """The beat that would come within a second. What is set back by less than one shows at a
    restart alone.
    """
    for service in services:
        await service.runtime.keeper._tick()


async def test_under_the_running_service(world: World, rewinder: Rewinder) -> None:
    iovox = await world.iovox()
    service = await world.service(iovox)
    await settle_down(service)
    before = await asyncio.to_thread(rewinder.keep)
    sent, ids = await send_and_receive(service, sends=20, receipts=40)
    await beat(service)
    await asyncio.to_thread(rewinder.put_back, before)
    await beat(service)  # until then it may read the file that was
    await assert_all_is_back(service, iovox, sent, ids)
    statuses = {(await service.look(one.json()["id"]))["status"] for one in sent.values()}
    assert statuses == {"SUBMITTED"}


async def test_while_it_was_down(
    database_url: str, world: World, rewinder: Rewinder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    iovox = await world.iovox()
    spool = tmp_path_factory.mktemp("spool")
    settings: dict[str, Any] = {"spool_dir": spool}
    async with world.another() as first:
        service = await first.service(iovox, **settings)
        await settle_down(service)
        before = await asyncio.to_thread(rewinder.keep)
        sent, ids = await send_and_receive(service, sends=20, receipts=40)
    await asyncio.to_thread(rewinder.put_back, before)
    service = await world.service(iovox, **settings)
    await assert_all_is_back(service, iovox, sent, ids)


async def test_a_queue_that_was_sent_is_not_sent_again(world: World, rewinder: Rewinder) -> None:
    iovox = await world.iovox()
    await iovox.behave(answer_delay=3.0)
    service = await world.service(iovox, iovox_max_connections=8, iovox_read_timeout=10)
    await settle_down(service)
    batch = {"messages": [to(WITHOUT_RECEIPT)] * 20}
    accepted = await service.post("/v1/messages/batch", batch)
    assert accepted.status_code == 202
    ids = [item["id"] for item in accepted.json()["messages"]]

    async def on_the_wire() -> bool:
        return bool((await iovox.counts())["by_message_id"])

    await until(on_the_wire, "the first to be on the wire")
    before = await asyncio.to_thread(rewinder.keep)  # some are on the wire, others are queued
    await iovox.behave(answer_delay=0.0)
    for id_ in ids:
        await service.becomes(id_, "SUBMITTED", patience=30)
    await beat(service)
    await asyncio.to_thread(rewinder.put_back, before)
    await beat(service)
    for id_ in ids:
        await service.becomes(id_, "SUBMITTED", patience=30)
    counts = await iovox.counts()
    assert counts["by_message_id"] == dict.fromkeys(ids, 1)
