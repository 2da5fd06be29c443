"""A database that was set back by less than a beat, so that it has every process's newest one.

Processes beat when they are told to here: what is set back in between is seen by nothing but the
rows that were written anew.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from app.errors import Invalid, KeysWait, Unavailable
from app.send.idempotency import KeyedBody
from tests.record.acts import answered, beat, told, two, work
from tests.record.rewinding import Rewinder, SqliteRewinder
from tests.record.theatre import Theatre


class InPlace(SqliteRewinder):
    """Puts the copy back into the open file, as ``sqlite3 dlr.db ".restore copy.db"`` does."""

    def put_back(self, moment: int) -> None:
        with (
            closing(sqlite3.connect(self._copy(moment))) as copy,
            closing(sqlite3.connect(self._path)) as there,
        ):
            copy.backup(there)


@pytest.fixture
def rewinder(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path, rewinder: Rewinder
) -> Rewinder:
    """A replaced file is another one, which is noticed anyhow."""
    return InPlace(database_url, tmp_path) if "sqlite" in database_url else rewinder


async def test_what_was_sent_is_not_sent_again_and_all_is_back(
    database_url: str, tmp_path: Path, rewinder: Rewinder, no_waiting: None
) -> None:
    theatre = Theatre(database_url, tmp_path)
    async with two(theatre) as (first, second):
        theatre.batch(first, 3, None)
        await told(theatre)
        moment = await asyncio.to_thread(rewinder.keep)
        await work(first)
        await answered(theatre)
        theatre.receive(second, None)
        theatre.send(second, "key", queued=True)
        await told(theatre)
        assert len(theatre.messages) == 4
        await asyncio.to_thread(rewinder.put_back, moment)
        await work(second)
        await work(first)
        await answered(theatre)
        assert set(theatre.iovox.texts.values()) == {1}
        with pytest.raises(KeysWait):
            await second.runtime.messages.cancel(
                (await second.runtime.messages.find_many(sorted(theatre.messages)))[0],
                second.runtime.clock.now(),
            )
        await beat(theatre)
        for _ in range(2):
            await work(first)
            await answered(theatre)
        found = await first.runtime.messages.find_many(sorted(theatre.messages))
        assert {one.id for one in found} == theatre.messages
        assert theatre.iovox.texts == dict.fromkeys(theatre.messages, 1)
        async with first.runtime.database.read() as connection:
            rows = await connection.exec_driver_sql("select times_seen from receipts")
            assert [row[0] for row in rows] == [1]


async def test_a_key_that_is_forgotten_between_two_looks_is_not_refused(
    database_url: str, tmp_path: Path
) -> None:
    """Whoever is told to use another key sends once more. Where the key stands, it is deleted."""
    theatre = Theatre(database_url, tmp_path)
    body = KeyedBody("key", b"send")
    async with two(theatre) as (first, _):
        theatre.send(first, "key", queued=True)
        await told(theatre)
        replayer = first.runtime.sender._replayer
        forgotten = KeyedBody("forgotten", b"send").claim("billing", message_id=uuid4())
        with pytest.raises(Unavailable, match="set back"):
            await replayer.replay(forgotten)
        found = await replayer.find("billing", body, first.runtime.clock.now())
        assert found is not None
        with pytest.raises(Invalid):
            await replayer.replay(replace(found, message_id=uuid4()))
