"""kill -9 during sends, repeatedly: no text is sent twice, and no message is lost."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from app.model.status import Status
from app.store.engine import Database
from app.store.tables import messages
from tests.send.processes import Stage, stage, wait_for
from tests.support.load import drive
from tests.support.process import ServerProcess

pytestmark = [pytest.mark.postgresql, pytest.mark.crash, pytest.mark.timeout(300)]

ROUNDS = max(4, int(os.environ.get("CRASH_ROUNDS", "1")))
UNDER_LOAD = 0.35
"""Seconds of load before each kill."""
TIMEOUTS = {"DLR_IOVOX_CONNECT_TIMEOUT": "0.5", "DLR_IOVOX_READ_TIMEOUT": "1"}
LEASE = 0.5 * 3 + 1 + 10
"""Seconds: all of the client's timeouts, and the margin."""
ENDED = {Status.SUBMITTED, Status.UNCONFIRMED, Status.REJECTED}


def test_killed_again_and_again(postgres_url: str) -> None:
    """Each round kills a replica that sends for callers and from the queue, and starts another."""
    reported: dict[str, str] = {}
    with stage(postgres_url, **TIMEOUTS) as here, ThreadPoolExecutor(1) as starter:
        here.behave(answer_delay=0.05)
        next_server = starter.submit(here.start)
        for _ in range(ROUNDS):
            server = next_server.result()
            port = here.ports[-1]
            next_server = starter.submit(here.start)  # while this one is under load
            here.queue(40, port)
            reported |= _load_and_kill(here, server, port)
        last = next_server.result()
        assert last.running
        wait_for(lambda: _unsettled(postgres_url) == set(), "every lease", patience=LEASE + 20)
        counts = here.counts()
        found = asyncio.run(_states(postgres_url))
        assert max(counts["attempts_by_message_id"].values()) == 1
        assert counts["repeated"] == 0
        assert set(found.values()) <= ENDED
        # Every response named a stored message, and SUBMITTED only what iovox accepted.
        assert reported.keys() <= found.keys()
        sent = {message_id for message_id, status in reported.items() if status == "SUBMITTED"}
        assert sent <= counts["by_message_id"].keys()
        assert all(found[message_id] == Status.SUBMITTED for message_id in sent)
        # The kills did hit sends under way.
        assert list(found.values()).count(Status.UNCONFIRMED) > ROUNDS
        assert len(sent) > ROUNDS


def _load_and_kill(here: Stage, server: ServerProcess, port: int) -> dict[str, str]:
    """The statuses in the responses before the kill, by message id."""
    reported: dict[str, str] = {}

    def on_body(_number: int, body: bytes) -> None:
        response = json.loads(body)
        reported[response["id"]] = response["status"]

    killer = threading.Timer(UNDER_LOAD, server.kill)
    killer.start()
    requests = [here.request()] * 2_000
    asyncio.run(drive("127.0.0.1", port, requests, 20, on_body=on_body))
    killer.join()
    return reported


def _unsettled(url: str) -> set[str]:
    """The states of messages that are not final yet."""
    time.sleep(0.5)
    return {str(state) for state in asyncio.run(_states(url)).values()} - {str(s) for s in ENDED}


async def _states(url: str) -> dict[str, str]:
    database = Database(url)
    try:
        async with database.read() as connection:
            rows = await connection.execute(select(messages.c.id, messages.c.state))
            return {str(row.id): row.state for row in rows}
    finally:
        await database.close()
