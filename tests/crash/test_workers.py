"""Several server processes over one spool: killed one by one, and ended together."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from contextlib import suppress

import psutil
import pytest

from tests.crash.clients import Clients
from tests.crash.conftest import ROUNDS
from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS, Service, stored
from tests.crash.waiting import until
from tests.support.processes import ended
from tests.support.proxy import Mode, TcpProxy

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.postgresql, pytest.mark.crash, pytest.mark.timeout(60 + 60 * ROUNDS)]

WORKERS = 2


async def test_killed_one_by_one_they_share_one_spool_and_ended_together_they_cut_nobody_off(
    service: Service, proxy: TcpProxy, database: str
) -> None:
    await service.start("--workers", str(WORKERS))
    await killed_one_by_one(service, proxy, database)
    await ended_together(service, database)


async def killed_one_by_one(service: Service, proxy: TcpProxy, database: str) -> None:
    chance = random.Random(ROUNDS)
    ledger = Ledger("workers", HEADERS)
    async with Clients(service.port, ledger) as clients:
        await clients.answered(50, within=30)
        for _ in range(ROUNDS):
            await proxy.switch(Mode.REFUSE)
            await service.until_spooled(50)
            chance.choice(workers_of(service)).kill()
            await clients.answered(20, within=30)
            await proxy.switch(Mode.PASS)
            await clients.answered(20, within=30)  # and one of them drains
            chance.choice(workers_of(service)).kill()
            await until(lambda: len(workers_of(service)) == WORKERS, within=30)
            await clients.answered(20, within=30)
    await service.until_drained()
    assert set(ledger.statuses) <= {200, None}
    faults = ledger.faults(await stored(database))
    assert not faults, faults[:10]
    log.info("%d attempts, %s", len(ledger.attempts), dict(ledger.statuses))


async def ended_together(service: Service, database: str) -> None:
    """Connections that are made meanwhile are answered or refused."""
    ledger = Ledger("ending", HEADERS, repeat=0)
    outcomes: list[str] = []
    ended = asyncio.Event()
    callers = [
        asyncio.create_task(call_anew(service.port, ledger, outcomes, ended)) for _ in range(16)
    ]
    await until(lambda: len(outcomes) >= 100, within=30)
    assert service.process is not None
    assert await asyncio.to_thread(service.process.terminate, 20) == 0
    ended.set()
    await asyncio.gather(*callers)
    assert set(outcomes) == {"200", "refused"}, "none was connected and then cut off"
    rows = await stored(database)
    assert ledger.faults({k: row for k, row in rows.items() if k[0].startswith("ending")}) == []


async def test_without_their_parent_they_finish_and_leave_the_port(
    service: Service, database: str
) -> None:
    ledger = Ledger("orphans", HEADERS, repeat=0)
    await service.start("--workers", str(WORKERS))
    assert service.process is not None
    workers = workers_of(service)
    assert len(workers) == WORKERS
    async with Clients(service.port, ledger, patience=0.2) as clients:
        await clients.answered(20, within=20)
        psutil.Process(service.process.pid).kill()
        await until(lambda: all(map(ended, workers)), within=20)
    assert set(clients.result.errors) <= {"not sent"}, "cut without an answer"
    assert ledger.faults(await stored(database)) == []
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", service.port))


async def call_anew(port: int, ledger: Ledger, outcomes: list[str], ended: asyncio.Event) -> None:
    """A connection for each receipt, again and again."""
    while not ended.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            outcomes.append("refused")
            await asyncio.sleep(0.05)
            continue
        request, index = ledger.next_request(), len(ledger.attempts) - 1
        try:
            writer.write(request)
            answer = await reader.read(100)
            outcomes.append(answer[9:12].decode() or "cut")
            ledger.on_answer(index, int(outcomes[-1]), 0)
        except OSError:
            outcomes.append("cut")
        writer.transport.abort()


def workers_of(service: Service) -> list[psutil.Process]:
    """The server processes; the other child is only Python's tracker of shared resources."""
    assert service.process is not None
    found = []
    for child in psutil.Process(service.process.pid).children():
        with suppress(psutil.Error):
            found += [child] if "spawn_main" in " ".join(child.cmdline()) else []
    return found
