"""kill -9 of the service at any moment: while it commits, spools, starts and drains."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from tests.crash.clients import Clients
from tests.crash.conftest import ROUNDS
from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS, Service, stored
from tests.crash.waiting import until
from tests.support.long import LONG
from tests.support.postgresql import PostgresServer
from tests.support.proxy import Mode, TcpProxy

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.postgresql, pytest.mark.crash, pytest.mark.timeout(60 + 60 * ROUNDS)]

KILLS = (21 if LONG else 12) * ROUNDS
# The database is there, it is away, and it is back: then the kill hits the drain.
ROAD = (Mode.PASS, Mode.REFUSE, Mode.PASS)


async def test_whatever_was_acknowledged_is_stored_once(
    service: Service, proxy: TcpProxy, database: str
) -> None:
    chance = random.Random(ROUNDS)
    ledger = Ledger("kill", HEADERS)
    spooled = []
    await service.fork()
    async with Clients(service.port, ledger, per_second=500) as clients:
        for number in range(KILLS):
            await proxy.switch(ROAD[number % len(ROAD)])
            if number % 7:  # or else it is killed while it starts, perhaps
                await clients.answered(10, within=20)
            if proxy.mode is Mode.REFUSE:
                await clients.answered(10, within=20)
                spooled.append(service.spooled())
            await asyncio.sleep(chance.uniform(0, 0.4))
            service.kill()
            await service.fork(ready=False)
        await proxy.switch(Mode.PASS)
        await clients.answered(100, within=30)
    await service.until_drained()
    faults = ledger.faults(await stored(database))
    assert not faults, faults[:10]
    assert len(spooled) >= KILLS // 3
    assert min(spooled) > 0, "an outage that the spool took no part in"
    answers = ledger.statuses
    assert set(answers) <= {200, None}, answers
    log.info("%d kills: %d attempts, %s", KILLS, len(ledger.attempts), dict(answers))


@pytest.mark.parametrize("number", range(2 * ROUNDS))
async def test_killed_between_the_commit_and_the_clearing_of_the_spool(
    service: Service,
    own_postgres: PostgresServer,
    proxy: TcpProxy,
    database: str,
    number: int,
) -> None:
    # of one receipt no more repetitions than the database remembers (MOST_ARRIVALS_KEPT)
    repeat = 0.05 * (number % 10)
    ledger = Ledger(f"drain-{number}", HEADERS, repeat=repeat, seed=number)
    await proxy.switch(Mode.REFUSE)
    await service.fork()
    async with Clients(service.port, ledger, per_second=1_000) as clients:
        await clients.answered(250, within=20)
    waiting = service.spooled()
    assert waiting == ledger.acknowledged == len(ledger.attempts)
    # While somebody else holds the spool's lock its rows can be read, but not deleted.
    with closing(sqlite3.connect(service.spool / "receipts.db", isolation_level=None)) as spool:
        spool.execute("begin immediate")
        await proxy.switch(Mode.PASS)
        await until(lambda: database_has(own_postgres, database, waiting), within=20)
        service.kill()
        assert spool.execute("select count(*) from arrivals").fetchone()[0] == waiting
        spool.execute("rollback")
    rows = await stored(database)
    assert ledger.faults(rows) == [], "all were committed"
    await service.fork()
    await service.until_drained()
    assert ledger.faults(await stored(database)) == [], "and the replay changed nothing"
    assert await stored(database) == rows


def database_has(server: PostgresServer, database: str, arrivals: int) -> bool:
    name = urlsplit(database).path.removeprefix("/")
    found = server.execute("select coalesce(sum(times_seen), 0) from receipts", database=name)
    return int(found) == arrivals
