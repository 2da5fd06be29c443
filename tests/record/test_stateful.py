"""Random sends, batches, repetitions, receipts, crashes, restarts, and a database that is set back.

After each run everything that was acknowledged is there, once, and iovox saw each message once at
most. The processes are real but for their HTTP servers and timers; so is the database.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from app.model.status import Status
from app.store.engine import Database
from tests.record.rewinding import PostgresRewinder, Rewinder, SqliteRewinder
from tests.record.theatre import Theatre
from tests.support.long import LONG
from tests.support.postgresql import PostgresServer

pytestmark = [pytest.mark.usefixtures("no_waiting"), pytest.mark.slow]

PICK = st.integers(0, 1_000)
KEYS = st.integers(1, 4)


class Machine(RuleBasedStateMachine):
    """One theatre, played step by step."""

    make_database: Any
    """Returns the URL of a new database and its rewinder."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder, url, self.rewinder = self.make_database()
        self.theatre = Theatre(url, self.folder)
        self.moments: list[int] = []

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, 60))

    @initialize(processes=st.integers(1, 3))
    def begin(self, processes: int) -> None:
        async def start() -> None:
            self.theatre.install()
            for _ in range(processes):
                await self.theatre.add()
            await self._beat_all()

        self.run(start())

    def someone(self, pick: int) -> Any:
        return self.theatre.alive[pick % len(self.theatre.alive)]

    def has_alive(self) -> bool:
        return bool(self.theatre.alive)

    @precondition(has_alive)
    @rule(who=PICK, key=st.none() | KEYS, queued=st.booleans())
    def send(self, who: int, key: int | None, queued: bool) -> None:
        self._do(
            lambda: self.theatre.send(self.someone(who), f"s{key}" if key else None, queued=queued)
        )

    @precondition(has_alive)
    @rule(who=PICK, size=st.integers(1, 3), key=st.none() | KEYS)
    def batch(self, who: int, size: int, key: int | None) -> None:
        # One key is one body, so its size is always the same.
        name = f"b{key}" if key else None
        self._do(lambda: self.theatre.batch(self.someone(who), key or size, name))

    @precondition(has_alive)
    @rule(who=PICK, hint=st.booleans(), which=PICK)
    def receive(self, who: int, hint: bool, which: int) -> None:
        sent = sorted(self.theatre.iovox.texts)
        named = sent[which % len(sent)] if hint and sent else None
        self._do(lambda: self.theatre.receive(self.someone(who), named))

    @precondition(has_alive)
    @rule(who=PICK, which=PICK)
    def cancel(self, who: int, which: int) -> None:
        known = sorted(self.theatre.messages)
        if known:
            message_id = known[which % len(known)]
            self._do(lambda: self.theatre.cancel(self.someone(who), message_id))

    @precondition(has_alive)
    @rule(who=PICK)
    def work(self, who: int) -> None:
        self.run(self._work(self.someone(who)))

    @rule(
        which=PICK, answer=st.sampled_from(["accepted", "accepted", "lost", "not sent", "refused"])
    )
    def answer(self, which: int, answer: str) -> None:
        asked = self.theatre.iovox.asked
        if asked:
            self.run(self._answer(which % len(asked), answer))

    @precondition(has_alive)
    @rule(who=PICK)
    def beat(self, who: int) -> None:
        self.run(self.someone(who).beat())

    @precondition(lambda self: self.has_alive() and len(self.moments) < 3)
    @rule()
    def keep(self) -> None:
        async def keep() -> None:
            await self.theatre.settle()
            self.moments.append(await asyncio.to_thread(self.rewinder.keep))

        self.run(keep())

    @precondition(lambda self: bool(self.moments))
    @rule(which=PICK)
    def put_back(self, which: int) -> None:
        moment = self.moments[which % len(self.moments)]
        del self.moments[which % len(self.moments) + 1 :]

        async def rewind() -> None:
            await self.theatre.settle()
            await asyncio.to_thread(self.rewinder.put_back, moment)

        self.run(rewind())

    @precondition(lambda self: self.has_alive() and len(self.moments) < 3)
    @rule(
        who=PICK,
        worker=PICK,
        answers=st.lists(st.sampled_from(["accepted", "lost", "not sent", "pending"]), max_size=2),
        dies=st.booleans(),
    )
    def sent_and_forgotten(self, who: int, worker: int, answers: list[str], dies: bool) -> None:
        """What random steps seldom come to: queued, kept, sent, and set back to before that."""
        self.batch(who, 2, None)
        self.keep()
        self.work(worker)
        for answer in answers:
            if answer != "pending":
                self.answer(0, answer)
        if dies:
            self.crash(worker)
        self.put_back(len(self.moments) - 1)

    @precondition(has_alive)
    @rule(who=PICK)
    def crash(self, who: int) -> None:
        self.run(self.someone(who).kill())

    @rule(who=PICK)
    def restart(self, who: int) -> None:
        dead = [one for one in self.theatre.processes if not one.is_alive]
        if dead:
            self.run(dead[who % len(dead)].start())

    @precondition(lambda self: len(self.theatre.processes) < 4)
    @rule()
    def another_one(self) -> None:
        self.run(self.theatre.add())

    # --- the end

    def teardown(self) -> None:
        try:
            if self.theatre.processes:
                self.run(self._end())
        finally:
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()

    async def _end(self) -> None:
        theatre = self.theatre
        await self._come_to_rest()
        found = await self._found()
        for process in theatre.alive:
            await process.kill()
        assert not theatre.failures, theatre.failures
        texts = theatre.iovox.texts
        assert max(texts.values(), default=0) <= 1, "a message was sent twice"
        for key, answers in theatre.keys.items():
            assert len(answers) == 1, f"one key, several answers: {key} {answers}"
        assert theatre.messages <= found["messages"].keys(), "a message is lost"
        for id_, sid in theatre.submitted.items():
            assert found["messages"][id_][1] == sid, "an acceptance is lost"
        for id_ in theatre.cancelled:
            assert not texts[id_], "cancelled, and sent"
            assert found["messages"][id_][0] == Status.CANCELLED, "a cancellation is lost"
        assert theatre.receipts <= found["receipts"].keys(), "a receipt is lost"
        assert set(found["receipts"].values()) <= {1}, "a receipt is counted twice"
        assert not [id_ for id_, (state, _) in found["messages"].items() if state == "QUEUED"]

    async def _come_to_rest(self) -> None:
        """All come back, everything under way ends, and the queue is worked off."""
        theatre = self.theatre
        for process in theatre.processes:
            if not process.is_alive:
                await process.start()
        for _ in range(3):
            await self._beat_all()
            while theatre.iovox.asked:
                await self._answer(0, "accepted")
            await theatre.settle()
        for process in theatre.alive:  # what a machine that was too busy has spooled
            await process.run(process.runtime.watch.check_now())
            await process.run(process.runtime.drainer.drain())
        for _ in range(60):
            await self._beat_all()
            for process in theatre.alive:
                await self._make_due()
                await self._work(process)
            while theatre.iovox.asked:
                await self._answer(0, "accepted")
            await theatre.settle()
            if not theatre.pending and not (await self._left()):
                return
        raise AssertionError(f"never at rest: {await self._left()} {theatre.pending}")

    async def _beat_all(self) -> None:
        for _ in range(2):
            for process in self.theatre.alive:
                await process.beat()
        await self.theatre.settle()

    async def _work(self, process: Any) -> None:
        await process.run(process.runtime.queue._poll())
        await self.theatre.settle()

    async def _answer(self, which: int, answer: str) -> None:
        iovox = self.theatre.iovox
        asked = iovox.asked.pop(which)
        if answer != "not sent":
            iovox.texts[asked.message_id] += 1
        if answer == "accepted":
            answer = iovox.accepted.setdefault(asked.message_id, uuid4().hex)
        asked.answer.set_result(answer)
        await self.theatre.settle()

    def _do(self, act: Any) -> None:
        async def begin() -> None:
            act()
            await self.theatre.settle()

        self.run(begin())

    async def _left(self) -> int:
        query = "select count(*) from messages where state = 'QUEUED'"
        return int((await self._rows(query))[0][0])

    async def _make_due(self) -> None:
        await self._rows(
            "update messages set next_attempt_at = created_at where state = 'QUEUED'", write=True
        )

    async def _found(self) -> dict[str, dict[UUID, Any]]:
        messages = await self._rows("select id, state, sms_activity_id from messages")
        receipts = await self._rows("select id, times_seen from receipts")
        return {
            "messages": {_id(row[0]): (row[1], row[2]) for row in messages},
            "receipts": {_id(row[0]): row[1] for row in receipts},
        }

    async def _rows(self, query: str, *, write: bool = False) -> list[Any]:
        database: Database = self.theatre.alive[0].runtime.database
        async with database.write() as connection:
            result = await connection.execute(text(query))
            return [] if write else list(result)


def _id(stored: object) -> UUID:
    return UUID(str(stored))


def play(make_database: Any, examples: int) -> None:
    machine = type("Played", (Machine,), {"make_database": staticmethod(make_database)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples * (20 if LONG else 1),
            stateful_step_count=40,
            deadline=None,
            phases=[Phase.generate],  # a step is not repeated to the microsecond: nothing to shrink
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(900)
def test_on_sqlite(sqlite_template: Path, tmp_path: Path) -> None:
    count = iter(range(10**9))

    def make() -> tuple[Path, str, Rewinder]:
        folder = tmp_path / f"example-{next(count)}"
        shutil.copytree(sqlite_template, folder)
        url = f"sqlite:///{folder / 'dlr.db'}"
        return folder, url, SqliteRewinder(url, folder)

    play(make, 5)


@pytest.mark.postgresql
@pytest.mark.timeout(900)
def test_on_postgresql(
    postgres_server: PostgresServer, postgres_template: str, tmp_path: Path
) -> None:
    count = iter(range(10**9))

    def make() -> tuple[Path, str, Rewinder]:
        folder = tmp_path / f"example-{next(count)}"
        folder.mkdir()
        url = postgres_server.create_database(template=postgres_template)
        return folder, url, PostgresRewinder(postgres_server, url)

    play(make, 3)
