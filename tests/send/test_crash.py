"""kill -9 amid sends, again and again: no text goes out twice, and none is forgotten."""

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

ROUNDS = max(20, int(os.environ.get("CRASH_ROUNDS", "1")))
UNDER_LOAD = 0.35
"""Seconds from the first request of a round to its kill."""
TIME_OUTS = {"DLR_IOVOX_CONNECT_TIMEOUT": "0.5", "DLR_IOVOX_READ_TIMEOUT": "1"}
LEASE = 0.5 * 3 + 1 + 10
"""Seconds: all of the client's time-outs, and the margin."""
ENDED = {Status.SUBMITTED, Status.UNCONFIRMED, Status.REJECTED}


def test_killed_again_and_again(postgres_url: str) -> None:
    """Each round kills a replica that sends for callers and from the queue, and starts another."""
    told: dict[str, str] = {}
    with stage(postgres_url, **TIME_OUTS) as here, ThreadPoolExecutor(1) as starter:
        here.behave(answer_delay=0.05)
        coming = starter.submit(here.start)
        for _ in range(ROUNDS):
            server = coming.result()
            port = here.ports[-1]
            coming = starter.submit(here.start)  # while this one is under load
            here.queue(40, port)
            told |= _load_and_kill(here, server, port)
        last = coming.result()
        assert last.running
        wait_for(lambda: _unsettled(postgres_url) == set(), "every lease", patience=LEASE + 20)
        counts = here.counts()
        found = asyncio.run(_states(postgres_url))
        assert max(counts["attempts_by_message_id"].values()) == 1
        assert counts["repeated"] == 0
        assert set(found.values()) <= ENDED
        # Nobody was told of a message that is not there, or that it was sent when it was not.
        assert told.keys() <= found.keys()
        sent = {message_id for message_id, status in told.items() if status == "SUBMITTED"}
        assert sent <= counts["by_message_id"].keys()
        assert all(found[message_id] == Status.SUBMITTED for message_id in sent)
        # The rounds did kill in the middle of it.
        assert list(found.values()).count(Status.UNCONFIRMED) > ROUNDS
        assert len(sent) > ROUNDS


def _load_and_kill(here: Stage, server: ServerProcess, port: int) -> dict[str, str]:
    """What callers were told before the end."""
    told: dict[str, str] = {}

    def on_body(_number: int, body: bytes) -> None:
        answer = json.loads(body)
        told[answer["id"]] = answer["status"]

    killer = threading.Timer(UNDER_LOAD, server.kill)
    killer.start()
    requests = [here.request()] * 2_000
    asyncio.run(drive("127.0.0.1", port, requests, 20, on_body=on_body))
    killer.join()
    return told


def _unsettled(url: str) -> set[str]:
    """States that a message must not stay in."""
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
