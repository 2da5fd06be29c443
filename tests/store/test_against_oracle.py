"""Random interleavings: SQLite, PostgreSQL and a plain reading of the rules agree on everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.model.london import CLOCK_SKEW, LONDON
from app.model.receipt import Receipt
from app.model.status import Status
from app.store.engine import Database
from app.store.history import HistoryStore
from app.store.messages import MessageStore
from app.store.receipts import ReceiptStore
from tests.store.oracle import Oracle
from tests.store.samples import (
    acceptance,
    all_events,
    arrival,
    at,
    message,
    outcome,
    recorded,
    understood,
)
from tests.support.fixtures import Server

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.postgresql]

MESSAGES = 4
IDS = 4
STATUSES = ["ACKNOWLEDGED", "BUFFERED", "FAILED", "EXPIRED", "DELIVERED", "ODD"]

one_message = st.integers(0, MESSAGES - 1)
one_id = st.integers(0, IDS - 1)
# Stamps of clocks that are wrong: how far they are off, and whether the arrival stands in for them.
CLOCKS = {
    "right": (timedelta(0), False),
    "half a minute ahead": (CLOCK_SKEW, False),
    "hardly too far ahead": (CLOCK_SKEW + timedelta(seconds=1), True),
    "an hour ahead": (timedelta(hours=1), True),
    "in 2099": (timedelta(days=79 * 365), True),
    "yesterday's": (-timedelta(days=1), False),
}
# id, status, second, whether it names a message, clock; equal ones are arrivals of one receipt
a_receipt = st.tuples(
    one_id,
    st.sampled_from(STATUSES),
    st.integers(0, 2),
    st.booleans(),
    st.just("right") | st.sampled_from(sorted(CLOCKS)),
)
operations = st.one_of(
    # In one batch an id has one name: which of two rivals wins there is nobody's promise.
    st.tuples(
        st.just("add"),
        st.lists(a_receipt, min_size=1, max_size=6)
        | st.lists(a_receipt, min_size=2, max_size=IDS, unique_by=lambda r: r[0]),
        st.lists(one_message, min_size=IDS, max_size=IDS),
    ),
    st.tuples(st.just("replay"), st.lists(st.integers(0, 30), min_size=1, max_size=4)),
    st.tuples(
        st.just("accepted"),
        st.lists(st.tuples(one_message, one_id), min_size=1, max_size=3, unique_by=lambda p: p[0]),
    ),
    st.tuples(
        st.just("settle"),
        one_message,
        st.sampled_from([Status.UNCONFIRMED, Status.REJECTED, Status.UNSENT]),
    ),
    st.tuples(st.just("cancel"), one_message),
)


@dataclass
class Replica:
    """One database with the stores on it."""

    database: Database
    receipts: ReceiptStore = field(init=False)
    messages: MessageStore = field(init=False)
    history: HistoryStore = field(init=False)

    def __post_init__(self) -> None:
        self.receipts = ReceiptStore(self.database)
        self.messages = MessageStore(self.database)
        self.history = HistoryStore(self.database)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replicas(
    sqlite_template: Path,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: Server,
    postgres_template: str,
) -> AsyncIterator[list[Replica]]:
    file = tmp_path_factory.mktemp("oracle") / "dlr.db"
    file.write_bytes((sqlite_template / "dlr.db").read_bytes())
    urls = [f"sqlite:///{file}", postgres_server.create_database(template=postgres_template)]
    made = [Replica(Database(url)) for url in urls]
    yield made
    for replica in made:
        await replica.database.close()


def stamped(
    sms_activity_id: str, status: str, second: int, clock: str, *, hint: UUID | None
) -> Receipt:
    """A receipt that came with this second, from somebody with this clock. Its time is checked."""
    off, is_ahead = CLOCKS[clock]
    came_at = at(second)
    stamp = f"{(came_at + off).astimezone(LONDON):%Y-%m-%d %H:%M:%S}"
    call = arrival(sms_activity_id, status, hint=hint, receipt_timestamp=stamp)
    made = understood(call._replace(received_at=came_at))
    assert made.content.at == (came_at if is_ahead else came_at + off)
    assert made.content.time_quality == ("ahead" if is_ahead else "exact")
    return made


class Play:
    """One program, as it runs on both databases and in the oracle at once."""

    def __init__(self, replicas: list[Replica]) -> None:
        self.replicas = replicas
        states = [Status.SENDING] * (MESSAGES - 1) + [Status.QUEUED]
        self.messages = [message(state) for state in states]
        self.ids = [str(uuid4()) for _ in range(IDS)]
        self.oracle = Oracle(self.messages)
        self.came: list[Receipt] = []

    async def begin(self) -> None:
        for replica in self.replicas:
            await replica.messages.add(recorded(*self.messages))

    async def run(self, operation: tuple[Any, ...]) -> None:
        kind, *arguments = operation
        await getattr(self, kind)(*arguments)

    async def add(self, batch: list[tuple[int, str, int, bool, str]], names: list[int]) -> None:
        made = [
            stamped(
                self.ids[sid],
                status,
                second,
                clock,
                hint=self.messages[names[sid]].id if named else None,
            )
            for sid, status, second, named, clock in batch
        ]
        self.came += made
        await self._add(made)

    async def replay(self, which: list[int]) -> None:
        if self.came:
            await self._add([self.came[n % len(self.came)] for n in which])

    async def _add(self, made: list[Receipt]) -> None:
        self.oracle.add(made)
        for replica in self.replicas:
            await replica.receipts.add(made, [])

    async def accepted(self, pairs: list[tuple[int, int]]) -> None:
        batch = [acceptance(self.messages[m], self.ids[s]) for m, s in pairs]
        expected = self.oracle.accepted(batch)
        for replica in self.replicas:
            assert await replica.messages.accepted(batch) == expected

    async def settle(self, which: int, status: Status) -> None:
        of = self.messages[which]
        if of.lease is None:
            return
        ended = outcome(of, status)
        expected = self.oracle.settle(ended)
        for replica in self.replicas:
            assert await replica.messages.settle([ended]) == expected

    async def cancel(self, which: int) -> None:
        of = self.messages[which]
        if of.lease is not None:
            return
        expected = self.oracle.settle(outcome(of, Status.CANCELLED)) == {of.id}
        for replica in self.replicas:
            leases = await replica.messages.cancel(of, of.created_at)
            assert (leases is not None) is expected

    async def compare(self, replica: Replica) -> None:
        log = await all_events(replica.database, *self.messages)
        for one in self.messages:
            record = await replica.history.find(str(one.id))
            assert record is not None
            assert record.status == self.oracle.status(one.id)
            assert record.sms_activity_id == self.oracle.ids.get(one.id)
            told = [event for event in log if event.message_id == one.id]
            assert told == [event for event in self.oracle.events if event.message_id == one.id]
        for sms_activity_id in self.ids:
            await self.compare_delivery(replica, sms_activity_id)

    async def compare_delivery(self, replica: Replica, sms_activity_id: str) -> None:
        record = await replica.history.find(sms_activity_id)
        expected = self.oracle.deliveries.get(sms_activity_id)
        if expected is None:
            assert record is None
            return
        assert record is not None
        assert (record.message.id if record.message else None) == expected.message
        assert (record.status, record.contradictory) == (expected.status, expected.contradictory)
        if expected.best is not None:
            assert record.status_at == expected.best.content.at
        assert {(r.status, r.at, r.times_seen) for r in record.receipts} == {
            (m.status, m.at, len(expected.arrivals[m.digest]))
            for m in (receipt.content for receipt in expected.receipts)
        }
        assert len(record.receipts) == len(expected.receipts)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(program=st.lists(operations, max_size=9))
async def test_both_databases_do_as_the_rules_say(
    replicas: list[Replica], program: list[tuple[Any, ...]]
) -> None:
    play = Play(replicas)
    await play.begin()
    for operation in program:
        await play.run(operation)
    for replica in replicas:
        await play.compare(replica)


async def test_the_oracle_itself_knows_the_usual_case(replicas: list[Replica]) -> None:
    play = Play(replicas)
    await play.begin()
    await play.run(("add", [(0, "ACKNOWLEDGED", 1, False, "right")], [0, 1, 2, 3]))
    await play.run(("accepted", [(0, 0)]))
    await play.run(
        (
            "add",
            [(0, "DELIVERED", 1, True, "right"), (0, "FAILED", 2, False, "right")],
            [0, 1, 2, 3],
        )
    )
    mine: UUID = play.messages[0].id
    told = [str(event) for event in play.oracle.events if event.message_id == mine]
    assert told == ["SUBMITTED", "ACKNOWLEDGED", "DELIVERED!"]
    assert play.oracle.deliveries[play.ids[0]].contradictory
    for replica in replicas:
        await play.compare(replica)
