"""Two releases on one PostgreSQL while receipts and sends go on: nothing is refused or lost."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS, SETTINGS, stored
from tests.support.long import LONG, cases
from tests.support.process import ServerProcess, free_port
from tests.upgrade.load import Load
from tests.upgrade.releases import (
    BREAKING,
    COMPATIBLE,
    TODAY,
    Release,
    last_release,
    newer,
)

pytestmark = [pytest.mark.postgresql, pytest.mark.crash, pytest.mark.timeout(240)]

log = logging.getLogger(__name__)
READER_SECONDS = 12 if LONG else 5
ACCEPTED = {201, 202}
"""A send whose outcome takes longer is answered 202."""


class World:
    """What the replicas share: a database, iovox, a key; and a spool of its own for each."""

    def __init__(self, database_url: str, iovox: str, folder: Path) -> None:
        self.database_url = database_url
        self.folder = folder
        self.settings = SETTINGS | {"DLR_DATABASE_URL": database_url, "DLR_IOVOX_URL": iovox}

    def key(self, release: Release) -> str:
        words = ["keys", "create", "load", "--scope", "send"]
        return self.dlr(release, *words)[1].split()[-1]

    def dlr(self, release: Release, *words: str) -> tuple[int, str]:
        return release.output(list(words), self.settings)


class Replica:
    """One service on one port with one spool, whichever release runs it."""

    def __init__(self, world: World, name: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ledger = Ledger(name, HEADERS)
        self._world = world
        self._spool = world.folder / name
        self._process: ServerProcess | None = None
        self.output = ""

    async def start(self, release: Release) -> None:
        env = self._world.settings | {"DLR_SPOOL_DIR": str(self._spool)}
        self._process = await asyncio.to_thread(
            lambda: release.serve(self.port, env, cwd=self._world.folder)
        )

    async def stop(self) -> None:
        if self._process is not None:
            code = await asyncio.to_thread(self._process.terminate)
            self.output += self._process.output()
            self._process.close()
            self._process = None
            assert code in (0, -signal.SIGTERM), self.output[-3000:]

    async def restart(self, release: Release) -> None:
        await self.stop()
        await self.start(release)

    async def readiness(self) -> tuple[int, dict[str, object]]:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            answer = await client.get(f"{self.url}/readyz")
        return answer.status_code, answer.json()

    def close(self) -> None:
        if self._process is not None:
            self.output += self._process.output()
            self._process.close()


@pytest.fixture
def world(empty_postgres_url: str, tmp_path: Path) -> Iterator[World]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = ["simulator", "--port", str(port)]
    with closing(ServerProcess.fork(words, ready_url=f"{url}/_simulator/counts")):
        yield World(empty_postgres_url, url, tmp_path)


@pytest.fixture(params=cases("the last one", "the next one"))
def releases(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Release, Release]:
    """An old release and a new one: the code under test is the one, and then the other."""
    last, why = last_release(tmp_path / "last")
    if request.param == "the last one" and last is not None:
        return last, TODAY
    if request.param == "the last one" and LONG:
        pytest.skip(why)
    return TODAY, newer(tmp_path / "new", ("9001_compatible", COMPATIBLE))


@asynccontextmanager
async def replicas(world: World, release: Release) -> AsyncIterator[tuple[Replica, Replica]]:
    assert world.dlr(release, "migrate")[0] == 0
    pair = Replica(world, "a"), Replica(world, "b")
    try:
        await asyncio.gather(*(each.start(release) for each in pair))
        yield pair
    finally:
        for each in pair:
            each.close()


async def everything_stored(world: World, pair: tuple[Replica, Replica]) -> None:
    rows = await stored(world.database_url)
    for each in pair:
        of_it = {key: row for key, row in rows.items() if key[0].startswith(each.ledger.prefix)}
        assert each.ledger.faults(of_it) == []
        assert set(each.ledger.statuses) == {200}


async def test_migrate_and_rolling_restart(world: World, releases: tuple[Release, Release]) -> None:
    old, new = releases
    async with replicas(world, old) as pair:
        a, b = pair
        key = world.key(old)
        async with Load(b.port, b.ledger, key) as beside:
            async with Load(a.port, a.ledger, key) as first:
                await asyncio.sleep(1)
                done = await asyncio.to_thread(world.dlr, new, "migrate")
                assert done[0] == 0, done[1]
                await asyncio.sleep(3)  # longer than between two looks at the schema
                code, words = await asyncio.to_thread(world.dlr, old, "migrate")
                assert code == 0, words
                assert "compatible with it" in words
            await a.restart(old)  # an old one that crashed comes back on the new schema
            async with Load(a.port, a.ledger, key) as second:
                await asyncio.sleep(1)
            await a.restart(new)
            async with Load(a.port, a.ledger, key) as third:
                await asyncio.sleep(1)
        loads = [beside, first, second, third]
        async with Load(a.port, a.ledger, key) as last:
            await b.restart(new)
        for each in pair:
            assert await each.readiness() == (200, {"status": "ready", "reasons": [], "spooled": 0})
            await each.stop()
            assert "database_away" not in each.output
        for load in (*loads, last):
            assert set(load.sends) <= ACCEPTED, load.refusals[:3]
            assert not load.errors
        sent = sum((load.sends for load in (*loads, last)), start=type(last.sends)())
        log.info("%d receipts, sends %s", sum(len(r.ledger.attempts) for r in pair), dict(sent))
        await everything_stored(world, pair)


async def test_migrate_beside_a_long_reader(world: World, tmp_path: Path) -> None:
    """A reader keeps the lock that the migration needs; nobody waits behind the migration."""
    new = newer(tmp_path / "new", ("9001_compatible", COMPATIBLE))
    await asyncio.to_thread(world.dlr, new, "--version")  # its next start takes no time
    async with replicas(world, TODAY) as pair, AsyncExitStack() as stack:
        key = world.key(TODAY)
        reader = await asyncpg.connect(world.database_url)
        stack.push_async_callback(reader.close)
        await reader.execute("begin")
        await reader.execute("select count(*) from messages")
        async with Load(pair[0].port, pair[0].ledger, key) as load:
            migrating = asyncio.create_task(asyncio.to_thread(world.dlr, new, "migrate"))
            await asyncio.sleep(READER_SECONDS)
            assert not migrating.done()
            await reader.execute("commit")
            code, words = await migrating
        assert code == 0, words
        assert "waits for a lock (in a transaction: " in words
        assert set(load.sends) <= ACCEPTED, load.refusals[:3]
        assert not load.errors
        log.info("sends %s, slowest receipt %.3f s", load.sends, load.ledger.slowest)
        await pair[0].stop()
        await everything_stored(world, (pair[0], pair[0]))


@pytest.mark.skipif(not LONG, reason="on SQLite in every run; here with DLR_TEST_LONG=1")
async def test_a_breaking_migration_stops_old_code_in_words(world: World, tmp_path: Path) -> None:
    new = newer(tmp_path / "new", ("9002_breaking", BREAKING))
    async with replicas(world, TODAY) as pair:
        a, b = pair
        key = world.key(TODAY)
        async with Load(a.port, a.ledger, key) as before:
            await asyncio.sleep(1)
            code, words = await asyncio.to_thread(world.dlr, new, "migrate")
            assert code == 0, words
        assert {201, 503} <= set(before.sends) <= {*ACCEPTED, 503}
        assert all(b"messages are kept elsewhere" in refusal for refusal in before.refusals)
        assert not before.errors
        await a.restart(TODAY)  # receipts are taken all the same
        async with Load(a.port, a.ledger, key) as after:
            await asyncio.sleep(1)
        assert set(after.sends) == {503}
        status, body = await a.readiness()
        assert status == 503
        assert "9002_breaking: messages are kept elsewhere" in str(body["reasons"])
        assert int(str(body["spooled"])) > 0
        await a.stop()
        assert "schema_unusable" in a.output
        assert "Traceback" not in a.output
        await a.start(new)
        await until_drained(a)
        await everything_stored(world, (a, a))
        await b.stop()


async def until_drained(replica: Replica) -> None:
    async with asyncio.timeout(30):
        while (await replica.readiness())[1]["spooled"] != 0:  # noqa: ASYNC110  another process
            await asyncio.sleep(0.1)
