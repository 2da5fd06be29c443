"""Real processes whose PostgreSQL loses its last seconds under load, by failover or restore."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
import pytest

from app.store.engine import Database
from app.store.schema import migrate
from tests.crash.clients import Clients
from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS, Service, stored
from tests.crash.waiting import until
from tests.postgres.senders import new_key
from tests.record.keyed import WITHOUT_RECEIPT, KeyedSenders
from tests.record.rewinding import PostgresRewinder
from tests.send.world import Iovox, World
from tests.support.long import LONG, cases
from tests.support.postgresql import PostgresServer
from tests.support.standby import Cluster, cluster

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.postgresql, pytest.mark.crash, pytest.mark.timeout(600)]

DATABASE = "dlr"
ROUNDS = int(os.environ.get("CRASH_ROUNDS", "2" if LONG else "1"))
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

    async def replica(self, *words: str) -> Service:
        """``words``: of its command; with any it is started as users do it."""
        folder = Path(tempfile.mkdtemp(prefix="replica-", dir=self.folder))
        service = Service(folder, self.url, settings={"DLR_IOVOX_URL": self.iovox.url})
        self.stack.callback(service.close)
        self.stack.callback(lambda: sys.stdout.write(service.output()[-6_000:]))
        await (service.start(*words) if words else service.fork())
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


async def stop_following(servers: Cluster) -> None:
    """From now on the standby gets nothing: an asynchronous one that has fallen behind."""
    servers.standby.execute("alter system set primary_conninfo = ''")
    servers.standby.execute("select pg_reload_conf()")
    receiving = "select count(*) from pg_stat_wal_receiver where status = 'streaming'"
    await until(lambda: servers.standby.execute(receiving) == "0", within=15)


async def assert_nothing_is_lost(
    on: Stage, url: str, ledger: Ledger, senders: KeyedSenders, queued: list[str]
) -> float:
    """Within 30 s; each was sent once. Returns the seconds it took."""
    began = time.monotonic()
    taken = {id_ for one in senders.asked for id_ in one.told} | set(queued)

    async def faults() -> list[str]:
        connection = await asyncpg.connect(url)
        try:
            rows = await connection.fetch("select id::text, state from messages")
        finally:
            await connection.close()
        states = {row["id"]: row["state"] for row in rows}
        found = [f"message {id_} is lost" for id_ in taken - states.keys()]
        found += [f"{id_} is {states.get(id_)}" for id_ in queued if states.get(id_) == "QUEUED"]
        return found + ledger.faults(await stored(url))

    left = await faults()
    for _ in range(int(WITHIN * 2)):
        if not left or time.monotonic() - began > WITHIN:
            break
        await asyncio.sleep(0.5)
        left = await faults()
    assert not left, left[:10]
    took = time.monotonic() - began
    await senders.repeat_all(on.ports[-1])
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


@pytest.mark.parametrize("how", cases("killed", "stopped"))
async def test_failover_to_a_standby_that_was_behind(tmp_path: Path, how: str) -> None:
    """100 of 100 receipts were gone, 50 of 50 texts went twice, 20 sends answered 201 were gone."""
    ledger = Ledger(how, HEADERS)
    with cluster(synchronous=False) as servers:
        url = servers.primary.create_database(DATABASE)
        async with stage(tmp_path, url, servers.url(DATABASE)) as on:
            await on.replica()
            await asyncio.sleep(1.5)
            senders = KeyedSenders(on.ports, on.key)
            async with Clients(on.ports[0], ledger, per_second=100) as receipts, senders:
                await receipts.answered(50, within=20)
                await stop_following(servers)
                await on.replica()  # a moment before
                senders.ports[:] = on.ports
                queued = await on.queue(50)
                await receipts.answered(100, within=20)
                await until(lambda: senders.statuses[201] >= 40, within=20)
                await asyncio.sleep(1.0)
                end = servers.primary.kill if how == "killed" else servers.primary.stop
                await asyncio.to_thread(end)
                await asyncio.to_thread(servers.standby.promote)
                before = senders.statuses[201]
                await until(lambda: senders.statuses[201] >= before + 20, within=WITHIN)
            took = await assert_nothing_is_lost(
                on, servers.standby.url(DATABASE), ledger, senders, queued
            )
            log.info(
                "all back %.1f s after the load's end; sends %s, receipts %s",
                took,
                dict(senders.statuses),
                dict(ledger.statuses),
            )


async def test_restored_at_random_moments(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    """Under two replicas that go on, one of them started a moment before."""
    rewinder = PostgresRewinder(postgres_server, postgres_url)
    chance = random.Random(12)
    async with stage(tmp_path, postgres_url, postgres_url) as on:
        await on.replica()
        await asyncio.sleep(1.5)
        for number in range(ROUNDS):
            ledger = Ledger(f"round-{number}", HEADERS)
            senders = KeyedSenders(on.ports, on.key, seed=number)
            async with Clients(on.ports[0], ledger, per_second=60) as receipts, senders:
                await asyncio.sleep(chance.uniform(0.2, 1.5))
                moment = await asyncio.to_thread(rewinder.keep)
                started = await on.replica()
                senders.ports[:] = on.ports
                queued = await on.queue(30)
                await asyncio.sleep(chance.uniform(1.5, 3.5))
                await asyncio.to_thread(rewinder.put_back, moment)
                await receipts.answered(30, within=30)
                await asyncio.sleep(chance.uniform(0.5, 2.0))
            took = await assert_nothing_of_round(on, postgres_url, ledger, senders, queued)
            log.info("round %s: all back after %.1f s", number, took)
            await started.terminate()
            on.services.remove(started)
            await on.iovox.reset()
            await on.iovox.behave(receipts=False)


async def assert_nothing_of_round(
    on: Stage, url: str, ledger: Ledger, senders: KeyedSenders, queued: list[str]
) -> float:
    connection = await asyncpg.connect(url)
    others = await connection.fetch(
        "select sms_activity_id from receipts where sms_activity_id not like $1",
        f"{ledger.prefix}-%",
    )
    await connection.execute(
        "delete from receipts where sms_activity_id not like $1", f"{ledger.prefix}-%"
    )
    await connection.close()
    log.info("%s receipts of earlier rounds", len(others))
    return await assert_nothing_is_lost(on, url, ledger, senders, queued)
