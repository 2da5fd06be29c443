"""Which processes append: services and workers, any number of both, one at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.record.evidence.keys import write_key
from app.store.engine import Database
from tests.cli.running import settings_for
from tests.record.evidence.test_log import facts
from tests.record.evidence.world import KEY, World
from tests.store.samples import receipt
from tests.support.process import ServerProcess, free_port

pytestmark = pytest.mark.slow


def settings(database_url: str, folder: Path) -> dict[str, str]:
    file = folder / "log.key"
    write_key(file, KEY)
    made = settings_for(database_url, folder, free_port(), "http://127.0.0.1:9")
    return made | {"DLR_EVIDENCE_KEY_FILE": str(file)}


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await true():  # noqa: ASYNC110  other processes do it
            await asyncio.sleep(0.1)


async def has_begun(world: World) -> bool:
    return bool(await world.reader.logs())


async def is_drained(world: World) -> bool:
    return not (await world.reader.lag())[0]


async def test_a_worker_appends_alone(database_url: str, tmp_path: Path) -> None:
    env = settings(database_url, tmp_path)
    database = Database(database_url)
    try:
        with ServerProcess.fork(["worker"], env):
            world = World(database, tmp_path / "spool")
            await until(lambda: has_begun(world))
            await world.receive(*(receipt(f"a{n}", "DELIVERED", n) for n in range(50)))
            await until(lambda: is_drained(world))
        assert (await world.audit()).findings == []
        assert sum(fact["type"] == "receipt" for fact in await facts(world)) == 50
    finally:
        await database.close()


async def test_services_and_workers_share_the_log(database_url: str, tmp_path: Path) -> None:
    env = settings(database_url, tmp_path)
    words = [["worker"], ["worker"], ["serve", "--port", "0"]]
    database = Database(database_url)
    try:
        with ExitStack() as stack:
            for each in words:
                stack.enter_context(ServerProcess.fork(each, env))
            world = World(database, tmp_path / "spool")
            await until(lambda: has_begun(world))
            for batch in range(20):
                await world.receive(*(receipt(f"b{batch}-{n}", "DELIVERED", n) for n in range(20)))
                await asyncio.sleep(0.05)
            await until(lambda: is_drained(world))
        assert (await world.audit()).findings == []
        assert len(await world.reader.logs()) == 1
        logged = Counter(
            fact["sms_activity_id"] for fact in await facts(world) if "receipt" in fact
        )
        assert len(logged) == 400
        assert set(logged.values()) == {1}
    finally:
        await database.close()
