"""The primary dies under load and its standby is promoted: the service goes on by itself.

With a synchronous standby nothing that was acknowledged is lost, and nothing is sent twice. What an
asynchronous one has lost, no client of a database can know.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from app.store.engine import Database
from app.store.schema import migrate
from tests.crash.clients import Clients
from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS, Service, stored
from tests.crash.waiting import until
from tests.postgres.senders import Senders, new_key
from tests.send.world import Iovox, World
from tests.support.long import LONG, cases
from tests.support.standby import Cluster, cluster

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.postgresql, pytest.mark.crash, pytest.mark.timeout(180)]

DATABASE = "dlr"
SLOWEST_RECEIPT = 2.0 + 1.5
"""Seconds: DLR_COMMIT_TIMEOUT, and what a busy machine adds."""
LONGEST_AWAY = 10.0
"""Seconds from the promotion to the next send that is accepted; usually about one."""


@dataclass
class Scene:
    """A service on a primary and its standby, and the iovox that it sends to."""

    servers: Cluster
    service: Service
    iovox: Iovox
    key: str


@asynccontextmanager
async def scene(folder: Path, *, synchronous: bool) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        servers = stack.enter_context(cluster(synchronous=synchronous))
        url = servers.primary.create_database(DATABASE)
        database = Database(url)
        await migrate(database)
        await database.close()
        iovox = await World(url, stack).iovox(receipts=False)
        service = Service(folder, servers.url(DATABASE), settings={"DLR_IOVOX_URL": iovox.url})
        stack.callback(service.close)
        stack.callback(lambda: sys.stdout.write(service.output()[-6_000:]))
        await service.fork()
        yield Scene(servers, service, iovox, await new_key(url))


async def fail_over(servers: Cluster, how: str) -> float:
    """The primary ends, or falls silent as a machine does that has lost its power; returns when
    the standby has taken over, with the time of the fault.
    """
    began = time.monotonic()
    end = servers.primary.kill if how == "killed" else servers.primary.pause
    await asyncio.to_thread(end)
    await asyncio.to_thread(servers.standby.promote)
    return began


@pytest.mark.parametrize("how", cases("silent", "killed"))
async def test_with_a_synchronous_standby_nothing_is_lost_and_nothing_doubled(
    tmp_path: Path, how: str
) -> None:
    ledger = Ledger(how, HEADERS)
    async with scene(tmp_path, synchronous=True) as on:
        async with (
            Clients(on.service.port, ledger, per_second=100) as receipts,
            Senders(on.service.port, on.key) as senders,
        ):
            await until(lambda: senders.count(201) >= 40, within=30)
            began = await fail_over(on.servers, how)
            promoted = time.monotonic()
            before = senders.count(201)
            await until(lambda: senders.count(201) >= before + 40, within=LONGEST_AWAY + 20)
            await receipts.answered(50, within=20)
        await on.service.until_drained()
        tell(senders, ledger, began, promoted)

        assert ledger.statuses == {200: len(ledger.attempts)}
        assert ledger.slowest < SLOWEST_RECEIPT
        faults = ledger.faults(await stored(on.servers.standby.url(DATABASE)))
        assert not faults, faults[:10]
        await assert_each_was_sent_as_it_was_answered(on, senders)
        assert senders.seconds_without(201, since=promoted) < LONGEST_AWAY
        assert await on.service.ready() == (200, {"status": "ready", "reasons": [], "spooled": 0})


@pytest.mark.skipif(not LONG, reason="like tests/record/test_failover.py: DLR_TEST_LONG=1")
async def test_with_an_asynchronous_standby_the_service_goes_on_all_the_same(
    tmp_path: Path,
) -> None:
    ledger = Ledger("asynchronous", HEADERS)
    async with scene(tmp_path, synchronous=False) as on:
        async with (
            Clients(on.service.port, ledger, per_second=100) as receipts,
            Senders(on.service.port, on.key) as senders,
        ):
            await until(lambda: senders.count(201) >= 40, within=30)
            began = await fail_over(on.servers, "killed")
            promoted = time.monotonic()
            before = senders.count(201)
            await until(lambda: senders.count(201) >= before + 40, within=LONGEST_AWAY + 20)
            await receipts.answered(50, within=20)
        await on.service.until_drained()
        tell(senders, ledger, began, promoted)

        assert ledger.statuses == {200: len(ledger.attempts)}
        assert set(senders.statuses) <= {201, 202, 503}, senders.statuses
        accepted = Counter(one["message"] for one in await on.iovox.messages())
        assert max(accepted.values()) == 1
        assert not {one.text for one in senders.sent if one.status == 503} & set(accepted)
        assert await on.service.ready() == (200, {"status": "ready", "reasons": [], "spooled": 0})


async def assert_each_was_sent_as_it_was_answered(on: Scene, senders: Senders) -> None:
    """201: once, and stored. 503: never reached iovox."""
    assert set(senders.statuses) <= {201, 202, 503}, senders.statuses
    accepted = Counter(one["message"] for one in await on.iovox.messages())
    assert max(accepted.values()) == 1
    refused = {one.text for one in senders.sent if one.status == 503}
    assert not refused & set(accepted), "answered 503, and sent all the same"
    connection = await asyncpg.connect(on.servers.standby.url(DATABASE))
    rows = await connection.fetch("select id::text, message, sms_activity_id from messages")
    await connection.close()
    kept = {row["id"]: row for row in rows}
    for one in senders.sent:
        if one.status != 503:
            assert one.body["id"] in kept, "acknowledged, and lost"
        if one.status == 201:
            assert accepted[one.text] == 1
            assert kept[one.body["id"]]["sms_activity_id"] == one.body["sms_activity_id"]


def tell(senders: Senders, ledger: Ledger, began: float, promoted: float) -> None:
    log.info(
        "promoted %.2f s after the fault; first send accepted %.2f s after it; sends %s, "
        "the slowest %.2f s; receipts %s, the slowest %.2f s",
        promoted - began,
        senders.seconds_without(201, since=began),
        dict(senders.statuses),
        max(one.seconds for one in senders.sent),
        dict(ledger.statuses),
        ledger.slowest,
    )
