"""Sends through nginx while its replicas are restarted: not one is refused, none is made twice."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest

from tests.crash.conftest import ROUNDS
from tests.send.processes import Stage, stage, wait_for
from tests.support.load import Result, drive
from tests.support.long import cases
from tests.support.nginx import Nginx
from tests.support.process import ServerProcess

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.postgresql, pytest.mark.crash, pytest.mark.timeout(120 + 60 * ROUNDS)]

PER_SECOND = 50


@pytest.mark.parametrize("processes", cases(1, 2))
def test_not_one_send_is_refused_by_a_rolling_restart(
    nginx_is_there: None, postgres_url: str, processes: int
) -> None:
    """Of two replicas of one or two processes."""
    with stage(postgres_url) as here, ExitStack() as stack:
        here.behave(answer_delay=0.1)  # five are on their way at any time
        running = [here.start(*_workers(processes)) for _ in range(2)]
        nginx = stack.enter_context(Nginx(here.ports))
        result, ids = asyncio.run(_load_while_restarting(here, running, nginx, processes))
        log.info("%s process(es): %s, %s", processes, dict(result.statuses), dict(result.errors))
        assert not result.errors
        assert set(result.statuses) == {201}
        wait_for(lambda: here.accepted() >= len(ids), "iovox to count them", patience=10)
        assert here.counts()["by_message_id"] == dict.fromkeys(ids, 1)


async def _load_while_restarting(
    here: Stage, running: list[ServerProcess], nginx: Nginx, processes: int
) -> tuple[Result, list[str]]:
    ids: list[str] = []
    ended = asyncio.Event()

    async def requests() -> AsyncIterator[bytes]:
        request = here.request()
        while not ended.is_set():
            yield request
            await asyncio.sleep(1 / PER_SECOND)

    def on_body(_number: int, body: bytes) -> None:
        ids.append(json.loads(body)["id"])

    load = asyncio.create_task(drive("127.0.0.1", nginx.port, requests(), 32, on_body=on_body))
    for _ in range(ROUNDS):
        # Several processes take long to start, and the second replica is as the first.
        for number, port in enumerate(here.ports[: 2 if processes == 1 else 1]):
            await asyncio.sleep(1)
            await asyncio.to_thread(running[number].terminate)
            await asyncio.sleep(0.5)
            running[number] = await asyncio.to_thread(here.restart, port, *_workers(processes))
    await asyncio.sleep(1)
    ended.set()
    return await load, ids


def _workers(processes: int) -> list[str]:
    return ["--workers", str(processes)] if processes > 1 else []


def test_a_send_that_reached_a_replica_goes_to_no_other(
    nginx_is_there: None, postgres_url: str
) -> None:
    """kill -9: what was on its way is answered 502, and is not made twice."""
    with stage(postgres_url) as here, ExitStack() as stack:
        here.behave(answer_delay=0.3)
        running = [here.start() for _ in range(2)]
        nginx = stack.enter_context(Nginx(here.ports))
        statuses: Counter[int] = Counter()

        async def load() -> Result:
            requests = [here.request()] * 200
            driving = asyncio.create_task(drive("127.0.0.1", nginx.port, requests, 20))
            await asyncio.sleep(1)
            await asyncio.to_thread(running[0].kill)
            return await driving

        statuses = asyncio.run(load()).statuses
        log.info("kill -9: %s", dict(statuses))
        assert set(statuses) == {201, 502}
        assert statuses[502] <= 20
        assert set(here.counts()["attempts_by_message_id"].values()) == {1}
        assert len(here.counts()["attempts_by_message_id"]) <= 200
