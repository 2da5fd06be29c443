"""A steady load on everything, while each part is restarted, the database fails over and is set
back, and a new release comes: nothing is lost, doubled, or leaked.

`make soak MINUTES=30` is the long one. Its first third has the disturbances; then the processes get
warm, and over the second half it is measured what they use.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from app.store.engine import Database
from app.store.schema import migrate
from tests.cli.running import make_key
from tests.crash.clients import Clients
from tests.crash.service import stored
from tests.soak.world import DATABASE, Replica, Senders, World
from tests.support.standby import cluster

MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))
IS_LONG = MINUTES >= 5
SECONDS = MINUTES * 60 or 6.0
CHAOS = "refuse=1%,error=0.5%,slow=1%,lost=1%,repeat=2%,reverse=2%"
SENDS = float(os.environ.get("SOAK_SENDS", "5"))
"""A second, to each replica."""
SLOPE = 0.05
"""MB a minute, over the last half of a long run."""
FLAT_AFTER = 30
"""Minutes: at first a process grows, until its caches and heap are as large as they get."""
LOOKS = 60
"""At each process, over the last half: one by itself is off by what is under way just then."""
MORE_DESCRIPTORS = 25
"""Connections come and go with the load; a leak of one a restart, or a minute, is more."""

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.slow, pytest.mark.postgresql, pytest.mark.timeout(SECONDS * 2 + 240)]


async def test_nothing_is_lost_doubled_or_leaked(tmp_path: Path) -> None:
    async with AsyncExitStack() as everything:
        servers = everything.enter_context(cluster(synchronous=True))
        database = Database(servers.primary.create_database(DATABASE))
        await migrate(database)
        await database.close()
        world = World(tmp_path, servers, CHAOS)
        everything.callback(world.close)
        key = await asyncio.to_thread(make_key, world.settings, "soak", "send", "read")
        await world.start()
        per_second = await half_of_capacity(world) if IS_LONG else 40
        async with AsyncExitStack() as stack:
            senders = []
            for replica in world.replicas:
                port = replica.service.port
                clients = Clients(port, replica.ledger, per_second=per_second, connections=8)
                await stack.enter_async_context(clients)
                sending = Senders(port, key, per_second=SENDS)
                senders.append(await stack.enter_async_context(sending))
            await disturb(world, SECONDS / 3)
            await asyncio.sleep(SECONDS / 6)
            await watch(world.replicas, SECONDS / 2)
        for replica in world.replicas:
            await replica.service.until_drained(within=60)
        await until_settled(world.url)
        await world.iovox.count()

        rows = await stored(world.url)
        for replica in world.replicas:
            prefix = f"{replica.ledger.prefix}-"
            mine = {name: row for name, row in rows.items() if name[0].startswith(prefix)}
            assert replica.ledger.faults(mine) == []
            assert replica.ledger.acknowledged > 0
        known = await message_ids(world.url)
        promised = {each for sending in senders for each in sending.acknowledged}
        assert promised
        assert promised <= known, "acknowledged and gone"
        twice = {each: times for each, times in world.iovox.accepted.items() if times > 1}
        assert twice == {}, "texts that were sent twice"
        for replica in world.replicas:
            report(replica, per_second)
            warm, last = replica.looks[0], replica.looks[-1]
            assert last[2] <= warm[2] + MORE_DESCRIPTORS, replica.looks
            if MINUTES >= FLAT_AFTER:
                assert replica.slope() <= SLOPE, replica.looks


async def disturb(world: World, seconds: float) -> None:
    """Each at least once; a failover and an upgrade no more than once, as there is one of them.

    The short form leaves the upgrade to tests/upgrade: processes of another release are not forked.
    """
    ends_at = time.monotonic() + seconds
    again: list[Callable[[], Awaitable[None]]] = [
        world.kill_database,
        world.restart_replica,
        world.iovox.restart,
        world.kill_replica,
        world.roll_back,
    ]
    turns = [*again, world.fail_over, *([world.upgrade] if IS_LONG else [])]
    pause = seconds / len(turns) / 4
    done = 0
    while turns or time.monotonic() < ends_at:
        turn = turns.pop(0) if turns else again[done % len(again)]
        began = time.monotonic()
        await turn()
        log.info("%s took %.1f s", turn.__name__, time.monotonic() - began)
        await asyncio.sleep(pause)
        done += 1
    log.info("%d disturbances", done)


async def watch(replicas: list[Replica], seconds: float) -> None:
    """A look now and then."""
    began = time.monotonic()
    for number in range(1, LOOKS + 1):
        for replica in replicas:
            replica.look(time.monotonic() - began)
        await asyncio.sleep(began + number * seconds / LOOKS - time.monotonic())


async def half_of_capacity(world: World) -> int:
    """Receipts a second to each replica: half of what both take when they get all they can."""
    seconds = 10.0
    before = sum(replica.ledger.acknowledged for replica in world.replicas)
    async with AsyncExitStack() as stack:
        for replica in world.replicas:
            clients = Clients(
                replica.service.port, replica.ledger, per_second=20_000, connections=32
            )
            await stack.enter_async_context(clients)
        await asyncio.sleep(seconds)
    taken = sum(replica.ledger.acknowledged for replica in world.replicas) - before
    return max(10, int(taken / seconds / 2 / len(world.replicas)))


async def until_settled(url: str) -> None:
    """What was queued is sent, and what was on its way has its outcome."""
    connection = await asyncpg.connect(url)
    try:
        deadline = time.monotonic() + 120
        while await connection.fetchval("select count(*) from messages where state = 'QUEUED'"):
            assert time.monotonic() < deadline, "something waits in the queue"
            await asyncio.sleep(0.5)
    finally:
        await connection.close()


async def message_ids(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        return {str(row[0]) for row in await connection.fetch("select id from messages")}
    finally:
        await connection.close()


def report(replica: Replica, per_second: int) -> None:
    sizes = [round(size, 1) for _, size, _ in replica.looks]
    files = [files for _, _, files in replica.looks]
    log.info(
        "%s: %d receipts a second, %d acknowledged, %.1f to %.1f MB, slope %.3f a minute, "
        "%d to %d descriptors",
        replica.ledger.prefix,
        per_second,
        replica.ledger.acknowledged,
        min(sizes),
        max(sizes),
        replica.slope(),
        min(files),
        max(files),
    )
