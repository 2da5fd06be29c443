"""SIGTERM under load: everything that was sent is answered, and what is answered 200 is kept."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.crash.clients import Clients
from tests.crash.conftest import ROUNDS
from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS, Service, stored
from tests.support.load import post
from tests.support.proxy import Mode, TcpProxy

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.postgresql, pytest.mark.crash, pytest.mark.timeout(60 + 60 * ROUNDS)]


@pytest.mark.parametrize("database_is", [Mode.PASS, Mode.REFUSE, Mode.BLACKHOLE])
async def test_nothing_that_was_sent_stays_unanswered(
    service: Service, proxy: TcpProxy, database: str, database_is: Mode
) -> None:
    ledger = Ledger(f"stop-{database_is}", HEADERS)
    await service.fork()
    idle = await asyncio.open_connection("127.0.0.1", service.port)
    async with Clients(service.port, ledger, per_second=600, patience=0.2) as clients:
        await clients.answered(100, within=20)
        await proxy.switch(database_is)
        await asyncio.sleep(0.5)
        took = await service.terminate()
    idle[1].close()
    log.info("exit after %.1f s, %s, %s", took, dict(ledger.statuses), clients.result.errors)
    assert took < 8
    assert set(clients.result.errors) <= {"not sent"}, "cut without an answer"
    assert set(ledger.statuses) <= {200, None}
    await proxy.switch(Mode.PASS)
    await service.fork()
    await service.until_drained()
    faults = ledger.faults(await stored(database))
    assert not faults, faults[:10]


async def test_a_body_that_is_still_coming_is_waited_for(service: Service, database: str) -> None:
    ledger = Ledger("slow", HEADERS)
    request = ledger.next_request()
    await service.fork()
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(request[:-20])
    await writer.drain()
    await asyncio.sleep(0.2)
    ending = asyncio.create_task(service.terminate())
    await asyncio.sleep(0.5)
    writer.write(request[-20:])
    head = (await reader.read()).lower()
    assert head.startswith(b"http/1.1 200")
    assert b"connection: close" in head
    writer.close()
    await ending
    ledger.on_answer(0, 200, 0.7)
    assert ledger.faults(await stored(database)) == []


async def test_an_idle_connection_may_still_ask_once(service: Service, database: str) -> None:
    """The request was on its way when we were told to stop: iovox would not send it again."""
    ledger = Ledger("late", HEADERS)
    await service.fork()
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(post("/dlr", {}, b""))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401")
    await asyncio.sleep(0.1)
    ending = asyncio.create_task(service.terminate())
    await asyncio.sleep(0.4)
    writer.write(ledger.next_request())
    answer = (await reader.read()).lower()
    assert b"http/1.1 200" in answer
    assert b"connection: close" in answer
    writer.close()
    await ending
    ledger.on_answer(0, 200, 0.5)
    assert ledger.faults(await stored(database)) == []
