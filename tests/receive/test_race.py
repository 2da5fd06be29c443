"""Two servers, one PostgreSQL: messages and their receipts meet whatever the interleaving.

Taking the event lock out, or the order in which rows are locked, makes this fail.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest

from tests.receive.fake_iovox import FakeIovox, Plan, Posts, plans, receipt
from tests.receive.serving import Service, bearer, create_key, serve
from tests.support import load

pytestmark = pytest.mark.slow

MESSAGES = 1_000
SENDERS = 24
"""Connections that send, to each server."""
POSTS = 24
"""Connections by which iovox posts receipts, to each server."""
TOGETHER = 40
"""Fewer than all senders, or the last ones would wait for each other for ever."""
STORMS = 60
IN_A_STORM = 48
SEED = 20200506


class Told(NamedTuple):
    """An event as a reader of the table sees it."""

    id: int
    sms_activity_id: str | None
    status: str
    contradicts: bool
    """It tells only that the message is contradictory now; its status stays."""


class Reader:
    """Follows the log as the feed does: everything after the last id, again every millisecond."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._stop = threading.Event()
        self.seen: list[Told] = []

    def __call__(self) -> None:
        asyncio.run(self._follow())

    def stop(self) -> None:
        self._stop.set()

    async def _follow(self) -> None:
        connection = await asyncpg.connect(self._url)
        cursor = 0
        while True:
            is_last = self._stop.is_set()
            rows = await connection.fetch(
                "select id, sms_activity_id, status, status_stays from events "
                "where id > $1 order by id",
                cursor,
            )
            self.seen += [Told(*row) for row in rows]
            cursor = self.seen[-1].id if self.seen else 0
            if is_last:
                break
            await asyncio.sleep(0.001)
        await connection.close()


@contextmanager
def following(database_url: str) -> Iterator[Reader]:
    reader = Reader(database_url)
    thread = threading.Thread(target=reader)
    thread.start()
    try:
        yield reader
    finally:
        reader.stop()
        thread.join()


@contextmanager
def two_servers(database_url: str, iovox_url: str) -> Iterator[list[Service]]:
    def start(_: int) -> Service:
        # Times of receipts are of years ago, which is an alarm if the test takes that long.
        quiet = {"DLR_LOG_LEVEL": "warning", "DLR_OPS_INTERVAL": "3600"}
        return serve(database_url, port=None, DLR_IOVOX_URL=iovox_url, **quiet)

    servers: list[Service] = []
    try:
        with ThreadPoolExecutor() as threads:
            servers += threads.map(start, range(2))
        yield servers
    finally:
        for server in servers:
            server.process.close()


@asynccontextmanager
async def posting_to(servers: list[Service], connections: int) -> AsyncIterator[list[Posts]]:
    first, second = (Posts(server.address[1], connections=connections) for server in servers)
    async with first, second:
        yield [first, second]


async def send_all(servers: list[Service], count: int, key: str) -> Counter[int]:
    """Half of the messages through each server, many at once; the statuses of the answers."""

    def requests(which: int) -> Iterator[bytes]:
        for number in range(which, count, 2):
            fields = {
                "origin": "447923221231",
                "destination": "447723443321",
                "message": f"number {number}",
            }
            yield load.post("/v1/messages", bearer(key), json.dumps(fields).encode())

    results = await asyncio.gather(
        *(
            load.drive(*server.address, list(requests(which)), SENDERS)
            for which, server in enumerate(servers)
        )
    )
    assert not any(result.errors for result in results)
    return results[0].statuses + results[1].statuses


async def storms(servers: list[Service], of: list[Plan], chance: random.Random) -> int:
    """The same ids in batches of both servers, in opposite orders, each time with a new status.

    The servers are held meanwhile, so that the batches are large and meet. Every third storm
    brings each of them other receipts of those ids. Answers how many receipts it all took.
    """
    async with posting_to(servers, IN_A_STORM) as (one, other):
        for storm in range(STORMS):
            struck = chance.sample(of, IN_A_STORM)
            seconds = (100 + 2 * storm, 100 + 2 * storm + (storm % 3 == 0))
            for server in servers:
                server.process.pause()
            answers = asyncio.gather(
                *(one.post(receipt(plan, ("BUFFERED", seconds[0]))) for plan in struck),
                *(other.post(receipt(plan, ("BUFFERED", seconds[1]))) for plan in struck[::-1]),
            )
            await asyncio.sleep(0.01)
            for server in servers:
                server.process.resume()
            assert set(await answers) == {200}
    return 2 * STORMS * IN_A_STORM


class Found(NamedTuple):
    """What the database holds of one message."""

    number: int
    state: str
    sms_activity_id: str | None
    status: str | None
    is_tied: bool


async def look(database_url: str) -> tuple[list[Found], list[Told], dict[str, int], Any]:
    connection = await asyncpg.connect(database_url)
    messages = await connection.fetch(
        """select substr(m.message, 8)::int number, m.state, m.sms_activity_id, d.status,
             d.message_id is not distinct from m.id and d.app is not distinct from m.app
           from messages m left join deliveries d using (sms_activity_id) order by 1"""
    )
    log = await connection.fetch(
        "select id, sms_activity_id, status, status_stays from events order by id"
    )
    seen = await connection.fetch(
        "select sms_activity_id, sum(times_seen) from receipts group by sms_activity_id"
    )
    totals = await connection.fetchrow(
        """select (select count(*) from deliveries where message_id is null) untied,
             (select count(*) from rejected_receipts) rejected,
             (select count(distinct id) from messages) messages"""
    )
    await connection.close()
    return [Found(*row) for row in messages], [Told(*row) for row in log], dict(seen), totals


async def deadlocks(database_url: str) -> int:
    """As PostgreSQL counts them; its sessions report within a second."""
    await asyncio.sleep(1.2)
    connection = await asyncpg.connect(database_url)
    found: int = await connection.fetchval(
        "select deadlocks from pg_stat_database where datname = current_database()"
    )
    await connection.close()
    return found


def rising(told: list[str]) -> bool:
    """Whether these statuses of one message can follow each other in its events."""
    order = ["UNCONFIRMED", "SUBMITTED", "ACKNOWLEDGED", "BUFFERED", "FAILED", "DELIVERED"]
    places = [order.index(status) for status in told]
    return all(
        one < other or (one == other and told[n] == "BUFFERED")
        for n, (one, other) in enumerate(pairwise(places))
    )


@pytest.mark.postgresql
async def test_a_thousand_messages_meet_their_receipts_on_two_servers(postgres_url: str) -> None:
    chance = random.Random(SEED)
    planned = plans(MESSAGES, TOGETHER, chance)
    key = create_key(postgres_url, "send")
    iovox = FakeIovox(planned, chance)
    async with iovox:
        with two_servers(postgres_url, iovox.url) as servers, following(postgres_url) as reader:
            async with posting_to(servers, POSTS) as iovox.posts:
                answers = await send_all(servers, MESSAGES, key)
                await iovox.finish()
            unfinished = [plan for plan in planned if plan.status == "BUFFERED"]
            more = await storms(servers, unfinished, chance)
            await asyncio.sleep(0.1)
            counters = [await metrics(server) for server in servers]
            output = "".join(server.process.output() for server in servers)
            reader.stop()
            await asyncio.sleep(0.05)
            locked = await deadlocks(postgres_url)
    messages, log, seen, totals = await look(postgres_url)

    # Nothing went wrong on the way.
    assert iovox.refused == []
    assert sorted(iovox.asked) == list(range(MESSAGES)), "nothing is sent twice"
    assert answers[201] + answers[202] == MESSAGES, answers
    assert answers[201] >= sum(not plan.is_lost for plan in planned) * 0.99, answers
    assert locked == 0
    assert faults(output) == []
    for counted in counters:
        assert counted["dlr_receipts_spooled_total"] == 0
    # Every message is tied to its id, and its status is right.
    expected = [Found(p.number, "SUBMITTED", p.sms_activity_id, p.status, True) for p in planned]
    assert [m for m, e in zip(messages, expected, strict=True) if m != e] == []
    assert (totals["untied"], totals["rejected"]) == (0, 0)
    assert sum(seen.values()) == iovox.calls + more
    # Every event is there once, in an order that makes sense, and the reader has missed none.
    assert reader.seen == log
    assert [told.id for told in log] == sorted({told.id for told in log})
    told_of: dict[str | None, list[str]] = defaultdict(list)
    for told in log:
        if told.contradicts:
            assert told_of[told.sms_activity_id][-1] == told.status == "DELIVERED"
            continue
        told_of[told.sms_activity_id].append(told.status)
    told_of.pop(None, None)  # UNCONFIRMED has no id yet
    assert set(told_of) == {plan.sms_activity_id for plan in planned}
    for plan in planned:
        told_here = told_of[plan.sms_activity_id]
        assert told_here[0] == "SUBMITTED", (plan, told_here)
        assert told_here[-1] == plan.status, (plan, told_here)
        assert rising(told_here), (plan, told_here)


async def metrics(server: Service) -> dict[str, float]:
    async with httpx.AsyncClient(base_url=server.url) as client:
        text = (await client.get("/metrics")).text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


EXPECTED = {
    "callback_secret_short",
    "send_not_accepted",
    "message_id_header_ignored",
    '"level": "info"',
}


def faults(output: str) -> list[str]:
    """What the servers said that a lost answer does not explain."""
    return [line for line in output.splitlines() if not any(word in line for word in EXPECTED)]
