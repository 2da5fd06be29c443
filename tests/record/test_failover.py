"""Real processes whose PostgreSQL loses its last seconds under load, by failover."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from tests.crash.clients import Clients
from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS
from tests.crash.waiting import until
from tests.record.keyed import KeyedSenders
from tests.record.stage import WITHIN, assert_nothing_is_lost, stage
from tests.support.long import cases
from tests.support.standby import Cluster, cluster

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.postgresql, pytest.mark.crash, pytest.mark.timeout(600)]

DATABASE = "dlr"


async def stop_following(servers: Cluster) -> None:
    """From now on the standby gets nothing: an asynchronous one that has fallen behind."""
    servers.standby.execute("alter system set primary_conninfo = ''")
    servers.standby.execute("select pg_reload_conf()")
    receiving = "select count(*) from pg_stat_wal_receiver where status = 'streaming'"
    await until(lambda: servers.standby.execute(receiving) == "0", within=15)


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
