"""The spool's disk full while the database is away: refused, and never lost or lied about."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.clients import Clients
from tests.crash.conftest import ROUNDS, through
from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS, Service, stored
from tests.crash.waiting import until
from tests.support.proxy import Mode, TcpProxy
from tests.support.small_disk import CannotMount, fill, small_disk

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.postgresql, pytest.mark.crash, pytest.mark.timeout(60 + 60 * ROUNDS)]

KIB = 1024
DISK = min(2 * ROUNDS, 48) * KIB * KIB
"""Bytes. All rounds are one outage, so what they spool stays; and under 64 MiB are nearly full."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk", size=DISK) as mounted:
            yield mounted
    except CannotMount as reason:
        pytest.skip(str(reason))


async def test_a_full_disk(disk: Path, tmp_path: Path, proxy: TcpProxy, database: str) -> None:
    """Full, with room again, and full again, while the database is away; then it comes back."""
    service = Service(tmp_path, through(proxy, database), spool=disk / "spool")
    ledger = Ledger("disk", HEADERS)
    try:
        await service.fork()
        async with Clients(service.port, ledger) as clients:
            await clients.answered(50, within=20)
            await proxy.switch(Mode.REFUSE)
            for _ in range(1 + ROUNDS):
                await clients.answered(50, within=20)
                ballast = fill(disk, but=16 * KIB)
                await refused_once_more(ledger)
                ballast.unlink()
                await clients.answered(50, within=20)
            fill(disk, but=16 * KIB)
            await refused_once_more(ledger)
            await said_to_be_full(service)
            await proxy.switch(Mode.PASS)
            await clients.answered(200, within=20)
            await service.until_drained()
        check(ledger, clients, await stored(database), service)
    finally:
        service.close()


async def test_files_that_may_not_grow(service: Service, proxy: TcpProxy, database: str) -> None:
    """A quota instead of a full disk, where nobody may mount one; the spool fills by itself."""
    ledger = Ledger("quota", HEADERS)
    await service.fork(largest_file=256 * KIB)
    async with Clients(service.port, ledger) as clients:
        await clients.answered(50, within=20)
        await proxy.switch(Mode.REFUSE)
        await refused_once_more(ledger)
        log.info("refused once %d were spooled", service.spooled())
        await proxy.switch(Mode.PASS)
        await clients.answered(200, within=20)
        await service.until_drained()
        await proxy.switch(Mode.REFUSE)
        await clients.answered(50, within=20)
        await proxy.switch(Mode.PASS)
        await service.until_drained()
    check(ledger, clients, await stored(database), service)


async def said_to_be_full(service: Service) -> None:
    """Where many did not fit a few still may, so it is not said at every moment."""
    async with asyncio.timeout(20):
        while True:
            status, body = await service.ready()
            assert status == 503
            places = [reason.partition(":")[0] for reason in body["reasons"]]
            assert places == ["database", "spool"], "nearly full it is at every moment"
            if "cannot be written" in body["reasons"][1]:
                return
            await asyncio.sleep(0.02)


async def refused_once_more(ledger: Ledger) -> None:
    """SQLite keeps what its log has of the disk and writes over it: up to 4 MB are still taken."""
    before = ledger.statuses[503]
    await until(lambda: ledger.statuses[503] > before, within=60)


def check(ledger: Ledger, clients: Clients, rows: object, service: Service) -> None:
    assert isinstance(rows, dict)
    faults = ledger.faults(rows)
    assert not faults, faults[:10]
    assert set(ledger.statuses) == {200, 503}, service.output()[-4000:]
    assert not clients.result.errors
    log.info("%d attempts, %s", len(ledger.attempts), dict(ledger.statuses))
