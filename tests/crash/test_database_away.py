"""The database killed, halted and cut off, under load: not one receipt is refused or lost."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.crash.clients import Clients
from tests.crash.conftest import ROUNDS
from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS, Service, stored
from tests.support.postgresql import PostgresServer
from tests.support.proxy import Mode, TcpProxy

log = logging.getLogger(__name__)

HALTED = 10.0
"""Seconds: more than a batch of the spool's may take, and so much more than a receipt's."""
HALTED_AGAIN = 4.0
"""Seconds in further rounds: more than a receipt's commit may take."""

pytestmark = [pytest.mark.postgresql, pytest.mark.crash, pytest.mark.timeout(60 + 60 * ROUNDS)]

PATIENCE = 2.0
"""DLR_COMMIT_TIMEOUT, as it is when nobody sets it."""
BESIDES = 1.5
"""Seconds that everything but the patience may take, on a machine with other things to do."""


async def killed_and_restarted(
    postgres: PostgresServer, _proxy: TcpProxy, service: Service
) -> None:
    """kill -9 of all of PostgreSQL, five times and more, at moments nobody chose."""
    chance = random.Random(ROUNDS)
    # After some outages in a row the service rests for 5 s before it trusts the database again.
    for _ in range(3 + 2 * ROUNDS):
        await asyncio.sleep(chance.uniform(0.1, 0.4))
        began = time.monotonic()
        await asyncio.to_thread(postgres.kill)
        spooled = await service.until_spooled()
        await asyncio.sleep(chance.uniform(0, 0.2))
        await asyncio.to_thread(postgres.start)
        away = time.monotonic() - began
        drained = await service.until_drained()
        log.info("away %.1f s, spooled after %.2f s, drained after %.2f s", away, spooled, drained)


async def halted(postgres: PostgresServer, _proxy: TcpProxy, service: Service) -> None:
    """Its connections stay, and nothing answers any more."""
    for number in range(ROUNDS):
        await asyncio.sleep(0.3)
        postgres.pause()
        try:
            log.info("spooled after %.1f s", await service.until_spooled())
            await asyncio.sleep(HALTED_AGAIN if number else HALTED)
        finally:
            postgres.resume()
        log.info("drained after %.1f s", await service.until_drained())


async def a_black_hole_on_the_way(
    _postgres: PostgresServer, proxy: TcpProxy, service: Service
) -> None:
    """Nothing arrives on either side, and nobody is told."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0.3)
        await proxy.switch(Mode.BLACKHOLE)
        log.info("spooled after %.1f s", await service.until_spooled())
        await asyncio.sleep(5)
        await proxy.switch(Mode.PASS)
        log.info("drained after %.1f s", await service.until_drained())


async def a_way_that_comes_and_goes(
    _postgres: PostgresServer, proxy: TcpProxy, service: Service
) -> None:
    """Refused, reset, cut in the middle of an answer: what is committed then nobody knows."""
    for mode in (Mode.REFUSE, Mode.CUT_ANSWERS, Mode.RESET) * ROUNDS:
        await asyncio.sleep(0.3)
        await proxy.switch(mode)
        await service.until_spooled()
        await asyncio.sleep(0.3)
        await proxy.switch(Mode.PASS)
        await service.until_drained()


@pytest.mark.parametrize(
    "outage",
    [
        killed_and_restarted,
        halted,
        a_black_hole_on_the_way,
        a_way_that_comes_and_goes,
    ],
)
async def test_every_receipt_is_answered_200_and_stored_once(
    service: Service,
    own_postgres: PostgresServer,
    proxy: TcpProxy,
    database: str,
    outage: Callable[[PostgresServer, TcpProxy, Service], Awaitable[None]],
) -> None:
    ledger = Ledger(outage.__name__, HEADERS)
    await service.fork()
    async with Clients(service.port, ledger) as clients:
        await clients.answered(50, within=20)
        await outage(own_postgres, proxy, service)
        await clients.answered(50, within=20)
    await service.until_drained()
    assert ledger.statuses == {200: len(ledger.attempts)}, service.output()[-4000:]
    assert not clients.result.errors
    assert ledger.slowest < PATIENCE + BESIDES
    faults = ledger.faults(await stored(database))
    assert not faults, faults[:10]
    status, body = await service.ready()
    assert (status, body) == (200, {"status": "ready", "reasons": [], "spooled": 0})
    log.info("%d attempts, the slowest %.2f s", len(ledger.attempts), ledger.slowest)
