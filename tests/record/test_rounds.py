"""Under load the database is set back to before what was acknowledged: all is back, once.

Two replicas, one of them started a moment before. The moments are random; the replicas go on while
it is set back, or were killed and are started again. One round in every run, 20 on either database
with DLR_TEST_LONG=1 or CRASH_ROUNDS=20.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from pathlib import Path

import pytest

from tests.crash.clients import Clients
from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS
from tests.crash.waiting import until
from tests.record.keyed import KeyedSenders
from tests.record.rewinding import Rewinder
from tests.record.stage import WITHIN, Stage, assert_nothing_is_lost, stage
from tests.support.long import LONG

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "20" if LONG else "1"))
SENDS, RECEIPTS, QUEUED = 60, 80, 20


async def play(on: Stage, rewinder: Rewinder, number: int, chance: random.Random) -> str:
    """One round; returns what is worth a line."""
    is_running = number % 2 == 0
    ledger = Ledger(f"round-{number}", HEADERS, seed=number)
    senders = KeyedSenders(on.ports, on.key, seed=number)
    async with Clients(on.ports[0], ledger, per_second=80) as receipts, senders:
        await asyncio.sleep(chance.uniform(0.2, 1.2))
        moment = await asyncio.to_thread(rewinder.keep)
        started = await on.replica()
        senders.ports[:] = on.ports
        queued = await on.queue(QUEUED)
        before = senders.statuses[201]
        await receipts.answered(RECEIPTS, within=60)
        await until(lambda: senders.statuses[201] >= before + SENDS, within=60)
        await asyncio.sleep(chance.uniform(0.0, 1.5))
        if is_running:
            await asyncio.to_thread(rewinder.put_back, moment)
        else:
            for service in on.services:
                service.kill()
            await asyncio.to_thread(rewinder.put_back, moment)
            await asyncio.gather(*(service.fork() for service in on.services))
        await receipts.answered(20, within=WITHIN)
        await asyncio.sleep(chance.uniform(0.0, 1.0))
    took = await assert_nothing_is_lost(on, on.url, ledger, senders, queued)
    await started.terminate()
    on.services.remove(started)
    how = "running" if is_running else "restarted"
    return (
        f"round {number}, {how}: all back {took:.1f} s after the load's end; "
        f"sends {dict(senders.statuses)}, receipts {dict(ledger.statuses)}"
    )


@pytest.mark.parametrize(
    ("database_url", "first"),
    [
        pytest.param("sqlite", 1),
        pytest.param("postgresql", 0, marks=pytest.mark.postgresql),
    ],
    indirect=["database_url"],
)
async def test_rounds(tmp_path: Path, database_url: str, rewinder: Rewinder, first: int) -> None:
    chance = random.Random(12)
    async with stage(tmp_path, database_url, database_url) as on:
        await on.replica()
        await asyncio.sleep(1.5)
        for number in range(first, first + ROUNDS):
            log.info("%s", await play(on, rewinder, number, chance))
            await on.iovox.reset()
            await on.iovox.behave(receipts=False)
