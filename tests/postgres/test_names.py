"""The host's name leads elsewhere after a failover: the new address is found, old links dropped."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import pytest
import pytest_asyncio

from app.errors import StoreUnavailable
from app.store.engine import Database
from tests.send.world import SECRET, Service, World, until
from tests.support.proxy import Mode, TcpProxy

pytestmark = pytest.mark.postgresql

NAME = "db.test"


class Names:
    """Resolves NAME, as the system's resolver would, to where a test wants it."""

    def __init__(self) -> None:
        self.address = ""
        self.asked = 0
        self._system = socket.getaddrinfo

    def resolve(self, host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in (NAME, NAME.encode()):
            self.asked += 1
            host = self.address
        return self._system(host, *args, **kwargs)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.resolve)
    return names


@pytest_asyncio.fixture
async def ways(postgres_url: str) -> AsyncIterator[tuple[TcpProxy, TcpProxy]]:
    """Two machines with the same port, on addresses of their own: the old primary and the new."""
    target = urlsplit(postgres_url)
    before, after = (TcpProxy(target.hostname or "", target.port or 5432) for _ in range(2))
    after.host, after.port = "127.0.0.2", before.port
    async with before, after:
        yield before, after


def by_name(url: str, proxy: TcpProxy) -> str:
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{NAME}:{proxy.port}"))


async def post_receipt(service: Service, sms_activity_id: str) -> int:
    answer = await service.client.post(
        "/dlr",
        json={"sms_activity_id": sms_activity_id, "status": "DELIVERED"},
        headers={"X-Secret": SECRET},
    )
    return answer.status_code


async def test_each_connection_asks_for_the_address_anew(
    names: Names, ways: tuple[TcpProxy, TcpProxy], postgres_url: str
) -> None:
    before, after = ways
    names.address = before.host
    database = Database(by_name(postgres_url, before))
    async with database.direct() as connection:
        assert await connection.fetchval("select 1") == 1
    async with database.write() as session:
        await session.exec_driver_sql("select 1")
    assert (before.accepted, after.accepted) == (2, 0)
    names.address = after.host
    await before.switch(Mode.REFUSE)
    with pytest.raises(StoreUnavailable):
        async with database.direct() as connection:
            await connection.fetchval("select 1")
    database.drop_idle()
    async with database.direct() as connection:
        assert await connection.fetchval("select 1") == 1
    async with database.write() as session:
        await session.exec_driver_sql("select 1")
    assert after.accepted == 2
    await database.close()


async def test_a_service_follows_its_name_from_a_machine_that_is_dead_and_silent(
    names: Names, ways: tuple[TcpProxy, TcpProxy], postgres_url: str
) -> None:
    before, after = ways
    names.address = before.host
    async with AsyncExitStack() as stack:
        world = World(by_name(postgres_url, before), stack)
        iovox = await world.iovox(receipts=False)
        service = await world.service(iovox, commit_timeout=1)
        assert (await service.send()).status_code == 201
        assert await post_receipt(service, "before") == 200

        await before.switch(Mode.BLACKHOLE)
        names.address = after.host
        waiting = [asyncio.create_task(service.send()) for _ in range(4)]
        assert await post_receipt(service, "after") == 200, "it is in the spool"

        async def ready() -> bool:
            return (await service.client.get("/readyz")).status_code == 200

        await until(ready, "it to find the new machine", patience=8, every=0.1)
        assert (await service.send()).status_code == 201
        statuses = [(await answered).status_code for answered in waiting]
        assert set(statuses) <= {201, 503}
        assert (await iovox.counts())["accepted"] == 2 + statuses.count(201)
        open_ones = [
            each
            for each in psutil.Process().net_connections("tcp4")
            if each.raddr == (before.host, before.port)
        ]
        assert len(open_ones) <= 1, "only what listens may wait a little longer"
        assert after.accepted > 0
    assert names.asked >= before.accepted + after.accepted
