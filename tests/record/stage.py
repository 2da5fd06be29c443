"""Real replicas on one database that forgets, and what must be true of it afterwards."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx
from sqlalchemy import text

from app.store.engine import Database
from app.store.schema import migrate
from app.store.tables import receipts
from tests.crash.ledger import Key, Ledger, Row
from tests.crash.service import Service
from tests.postgres.senders import new_key
from tests.record.keyed import WITHOUT_RECEIPT, KeyedSenders
from tests.send.world import Iovox, World

WITHIN = 30.0
"""Seconds after which everything that was acknowledged is there again."""


@dataclass
class Stage:
    """Replicas on one database, and the iovox that they send to."""

    folder: Path
    url: str
    iovox: Iovox
    key: str
    stack: AsyncExitStack
    services: list[Service] = field(default_factory=list)

    async def replica(self, *words: str, env: Mapping[str, str] | None = None) -> Service:
        """``words``: of its command; with any, or an ``env``, it is started as users do it."""
        folder = Path(tempfile.mkdtemp(prefix="replica-", dir=self.folder))
        service = Service(folder, self.url, settings={"DLR_IOVOX_URL": self.iovox.url})
        self.stack.callback(service.close)
        self.stack.callback(lambda: sys.stdout.write(service.output()[-6_000:]))
        await (service.start(*words, env=env) if words or env else service.fork())
        self.services.append(service)
        return service

    @property
    def ports(self) -> list[int]:
        return [service.port for service in self.services]

    async def queue(self, count: int) -> list[str]:
        """A batch; returns the ids."""
        fields = {"origin": "447923221231", "destination": WITHOUT_RECEIPT, "message": "in a batch"}
        headers = {"Authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(headers=headers, timeout=30, trust_env=False) as client:
            answer = await client.post(
                f"http://127.0.0.1:{self.ports[0]}/v1/messages/batch",
                json={"messages": [fields] * count},
            )
        assert answer.status_code == 202, answer.text
        return [item["id"] for item in answer.json()["messages"]]


@asynccontextmanager
async def stage(folder: Path, made_by: str, url: str) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        database = Database(made_by)
        await migrate(database)
        await database.close()
        iovox = await World(made_by, stack).iovox(receipts=False)
        yield Stage(folder, url, iovox, await new_key(made_by), stack)


@dataclass(frozen=True, slots=True)
class Found:
    """What the database has: messages' states, and the receipts of one ledger."""

    states: dict[str, str]
    receipts: dict[Key, Row]


async def look(url: str, ledger: Ledger) -> Found:
    """Two rows of one receipt are an error."""
    database = Database(url)
    try:
        async with database.read() as connection:
            states = await connection.execute(text("select id, state from messages"))
            found = {str(UUID(str(row.id))): str(row.state) for row in states}
            column = receipts.c
            of_it = column.sms_activity_id.like(f"{ledger.prefix}-%")
            rows = (await connection.execute(receipts.select().where(of_it))).all()
    finally:
        await database.close()
    by_key = {
        (row.sms_activity_id, row.status): Row(row.received_at, row.times_seen) for row in rows
    }
    assert len(by_key) == len(rows), "a receipt is stored twice"
    return Found(found, by_key)


async def assert_nothing_is_lost(
    on: Stage, url: str, ledger: Ledger, senders: KeyedSenders, queued: list[str]
) -> float:
    """Within 30 s; each was sent once. Returns the seconds it took."""
    began = time.monotonic()
    taken = {id_ for one in senders.asked for id_ in one.told} | set(queued)

    async def faults() -> list[str]:
        there = await look(url, ledger)
        states = there.states
        found = [f"message {id_} is lost" for id_ in taken - states.keys()]
        found += [f"{id_} is {states.get(id_)}" for id_ in queued if states.get(id_) == "QUEUED"]
        return found + ledger.faults(there.receipts)

    left = await faults()
    for _ in range(int(WITHIN * 2)):
        if not left or time.monotonic() - began > WITHIN:
            break
        await asyncio.sleep(0.5)
        left = await faults()
    assert not left, left[:10]
    took = time.monotonic() - began
    await senders.repeat_all(on.ports[-1])
    assert not senders.statuses[422], "somebody was told to use another key"
    for one in senders.asked:
        assert len(one.told) <= 1, f"one key, two messages: {one.answers}"
    accepted = Counter(message["x_message_id"] for message in await on.iovox.messages())
    twice = {id_: times for id_, times in accepted.items() if times > 1}
    assert not twice
    by_text = Counter(message["message"] for message in await on.iovox.messages())
    assert not [one.key for one in senders.asked if by_text[one.fields["message"]] > 1]
    for one in senders.asked:
        if any(status == 201 for status, _ in one.answers):
            assert by_text[one.fields["message"]] == 1
    return took
