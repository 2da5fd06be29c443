"""`dlr purge` that is killed in the middle goes on where it was."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select

from app.store.engine import Database
from app.store.tables import messages
from tests.lookup.world import id_at
from tests.support.long import POSTGRESQL, on
from tests.support.process import PROJECT, clean_environment, fork_dlr

pytestmark = pytest.mark.crash

COUNT = 6_000
OLD = datetime.now(UTC) - timedelta(days=500)


async def fill(url: str) -> None:
    """Old messages that were refused: nothing hangs on them."""
    rows = [
        {
            "id": id_at(OLD + timedelta(seconds=n)),
            "app": "billing",
            "origin": "447700900001",
            "destination": "447700900123",
            "message": "Hello",
            "created_at": OLD,
            "state": "REJECTED",
            "state_at": OLD,
        }
        for n in range(COUNT)
    ]
    database = Database(url)
    async with database.write() as connection:
        for start in range(0, COUNT, 2_000):
            await connection.execute(insert(messages), rows[start : start + 2_000])
    await database.close()


async def left(url: str) -> int:
    database = Database(url)
    async with database.read() as connection:
        query = select(func.count()).select_from(messages)
        count: int = (await connection.execute(query)).scalar_one()
    await database.close()
    return count


@on(POSTGRESQL)
async def test_it_goes_on_where_it_was(database_url: str) -> None:
    await fill(database_url)
    words = ["purge", "--older-than", "400d"]
    env = {"DLR_DATABASE_URL": database_url}
    purging = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "app.cli", *words],
        cwd=PROJECT,
        env=clean_environment(env),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not 0 < await left(database_url) < COUNT - 500:
        assert purging.returncode is None, "it was done before it could be killed"
        assert time.monotonic() < deadline
    purging.kill()
    await purging.wait()
    remaining = await left(database_url)
    assert 0 < remaining < COUNT
    done = fork_dlr(words, env, timeout=100)
    assert done.returncode == 0, done.stderr
    deleted = re.search(r"Deleted: ([\d,]+) messages", done.stdout)
    assert deleted is not None
    # What was under way when it was killed may still have been committed.
    assert remaining - 200 <= int(deleted[1].replace(",", "")) <= remaining
    assert await left(database_url) == 0
