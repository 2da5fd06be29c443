"""Requests that are repeated after an erasure or a purge: answered, and never sent as new."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import select

from app.model.audit import Actor
from app.record.retention import Purger
from app.store.retention import RetentionStore
from app.store.tables import idempotency_keys
from tests.send.world import Service, World, faults, to, until

ENDING = "105"
"""iovox accepts it and sends no receipt."""
NUMBER = "447700900105"
REFERENCE = "case-of-ms-confidential"
KEYS = (NUMBER, f"order-{NUMBER}", "+44(0)7700-900105", REFERENCE, "an-ordinary-key")
TELLING = KEYS[:-1]


async def erase(service: Service) -> None:
    runtime = service.runtime
    admin = await service.key("ops", "admin")
    asked = await service.client.post("/v1/erasures", json={"destination": NUMBER}, headers=admin)
    assert asked.status_code == 202, asked.text
    path = f"/v1/erasures/{asked.json()['id']}"

    async def completed() -> bool:
        await runtime.eraser.run_once()
        await runtime.disk.run_once()
        found = (await service.client.get(path, headers=admin)).json()
        return found["completed_at"] is not None

    await until(completed, "the erasure to be completed", every=0.1)


def assert_replayed(first: httpx.Response, again: httpx.Response) -> None:
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.status_code, again.json()["id"]) == (first.status_code, first.json()["id"])


async def test_no_repetition_is_a_second_text(database_url: str) -> None:
    async with AsyncExitStack() as stack:
        world = World(database_url, stack)
        iovox = await world.iovox()
        service = await world.service(iovox)
        hers: dict[str, Any] = to(ENDING, reference=REFERENCE)
        sent = {key: await service.send(hers, idempotency_key=key) for key in KEYS}
        assert {one.status_code for one in sent.values()} == {201}
        batch = {"messages": [hers, to(ENDING, expiry=0)]}
        batch_key = f"batch-{NUMBER}"
        batched = await service.post("/v1/messages/batch", batch, idempotency_key=batch_key)
        await service.becomes(batched.json()["messages"][0]["id"], "SUBMITTED")
        shipping = await service.key("shipping")
        theirs: dict[str, Any] = to("100", message="another app's, to someone else")
        other = await service.send(theirs, idempotency_key=REFERENCE, **shipping)
        assert other.status_code == 201

        await erase(service)

        async with service.runtime.database.read() as connection:
            rows = (await connection.execute(select(*idempotency_keys.c))).all()
        left = {row.key for row in rows if row.app == service.app}
        assert len(left) == len(KEYS) + 1
        assert "an-ordinary-key" in left
        assert not left & {*TELLING, batch_key}
        assert NUMBER not in repr(rows)
        for key, first in sent.items():
            assert_replayed(first, await service.send(hers, idempotency_key=key))
        again = await service.post("/v1/messages/batch", batch, idempotency_key=batch_key)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.content == batched.content
        # Another app's key is its own, whatever word it is.
        assert_replayed(other, await service.send(theirs, idempotency_key=REFERENCE, **shipping))
        changed = {**theirs, "message": "another body"}
        assert faults(await service.send(changed, idempotency_key=REFERENCE, **shipping))
        assert (await iovox.counts())["accepted"] == len(KEYS) + 2
        assert max((await iovox.counts())["by_message_id"].values()) == 1

        # Nor once the messages are purged, however young they are.
        purger = Purger(RetentionStore(service.runtime.database), rest=0)
        await purger.purge(datetime.now(UTC) + timedelta(seconds=1), actor=Actor("os:someone"))
        for key, first in sent.items():
            assert (await service.client.get(first.headers["location"])).status_code == 404
            again = await service.send(hers, idempotency_key=key)
            assert "deleted" in faults(again)["Idempotency-Key"]
        again = await service.post("/v1/messages/batch", batch, idempotency_key=batch_key)
        assert again.content == batched.content
        assert (await iovox.counts())["accepted"] == len(KEYS) + 2
