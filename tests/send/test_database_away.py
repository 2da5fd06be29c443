"""PostgreSQL is unavailable: before a send, before its outcome is recorded, and for the queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tests.send.world import ACCEPTED, HELLO, Iovox, Service, World, faults, to, until
from tests.support.proxy import Mode, TcpProxy

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.postgresql]


@dataclass
class Scene:
    service: Service
    iovox: Iovox
    database: TcpProxy

    async def usable(self) -> None:
        """Return once the service is ready again."""

        async def ready() -> bool:
            return (await self.service.client.get("/readyz")).status_code == 200

        await until(ready, "the service to be ready", patience=30)


@pytest_asyncio.fixture(loop_scope="module")
async def scene(postgres_url: str, postgres_world: World) -> AsyncIterator[Scene]:
    parts = urlsplit(postgres_url)
    assert parts.hostname
    assert parts.port
    async with TcpProxy(parts.hostname, parts.port) as proxy:
        at = f"{parts.username}:{parts.password}@" if parts.password else f"{parts.username}@"
        url = parts._replace(netloc=f"{at}{proxy.host}:{proxy.port}").geturl()
        postgres_world.database_url = url
        iovox = await postgres_world.iovox()
        scene = Scene(await postgres_world.service(iovox), iovox, proxy)
        yield scene
        await proxy.switch(Mode.PASS)
        await scene.usable()


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.BLACKHOLE])
async def test_before_the_request_nothing_is_sent(scene: Scene, mode: Mode) -> None:
    assert (await scene.service.send()).status_code == 201
    await scene.database.switch(mode)
    started = time.monotonic()
    sends = (("", HELLO), ("/batch", {"messages": [HELLO]}))
    posts = (scene.service.post(f"/v1/messages{path}", body) for path, body in sends)
    for refused in await asyncio.gather(*posts):
        assert faults(refused, 503) == {}
        assert int(refused.headers["retry-after"]) >= 1
        assert str(scene.database.port) not in refused.text
    assert time.monotonic() - started < 15
    await scene.database.switch(Mode.PASS)
    await scene.usable()
    assert (await scene.service.send()).status_code == 201
    assert (await scene.iovox.counts())["accepted"] == 2


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.BLACKHOLE])
async def test_between_the_request_and_the_record(scene: Scene, mode: Mode) -> None:
    """202 with our id in any case; the outcome is recorded later."""
    await scene.iovox.behave(answer_delay=0.8, receipts=False)
    sending = [asyncio.create_task(scene.service.send(to(e))) for e in (ACCEPTED, "111", "109")]

    async def all_on_the_wire() -> bool:
        return bool((await scene.iovox.counts())["requests"] == 3)

    await until(all_on_the_wire, "iovox to have them")
    await scene.database.switch(mode)
    responses = await asyncio.gather(*sending)
    bodies = [response.json() for response in responses]
    assert [response.status_code for response in responses] == [202, 202, 202]
    assert [body["status"] for body in bodies] == ["UNCONFIRMED"] * 3
    await scene.database.switch(Mode.PASS)
    await scene.usable()
    accepted, refused, later = (body["id"] for body in bodies)
    await scene.service.becomes(accepted, "SUBMITTED", patience=30)
    await scene.service.becomes(refused, "REJECTED", patience=30)
    await scene.service.becomes(later, "SUBMITTED", patience=30)
    assert (await scene.iovox.counts())["by_message_id"] == {accepted: 1, later: 1}


async def test_the_queue_resumes(scene: Scene) -> None:
    await scene.iovox.behave(answer_delay=0.05)
    batch = {"messages": [HELLO] * 150}
    items = (await scene.service.post("/v1/messages/batch", batch)).json()["messages"]
    await asyncio.sleep(0.2)
    for _ in range(3):
        await scene.database.switch(Mode.REFUSE)
        await asyncio.sleep(0.2)
        await scene.database.switch(Mode.PASS)
        await asyncio.sleep(0.4)
    await scene.usable()

    async def all_sent() -> bool:
        return await scene.service.states() == {"SUBMITTED": 150}

    await until(all_sent, "150 texts", patience=60, every=0.1)
    counts = await scene.iovox.counts()
    assert counts["attempts_by_message_id"] == {item["id"]: 1 for item in items}
