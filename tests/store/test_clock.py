"""The database's clock as a process knows it, and what is done when it was set back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, select, update
from uuid_utils.compat import uuid7

from app.model.message import Message
from app.model.status import Status
from app.store.clock import DatabaseClock
from app.store.clock_watch import ALLOWED_OFFSET, ClockWatch
from app.store.engine import Database
from app.store.messages import MessageStore
from app.store.setback import Rescheduled, SetbackStore
from app.store.tables import webhook_deliveries, webhooks
from tests.store.emptied import emptied
from tests.store.samples import message, recorded

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
NOTHING = Rescheduled(0, 0, 0)
HOUR = timedelta(hours=1)


class Host:
    """A host whose monotonic clock stands at ``at``, and whose own clock the test sets."""

    def __init__(self) -> None:
        self.at = 100.0
        self.ahead = timedelta(0)

    def clock(self) -> DatabaseClock:
        return DatabaseClock(host=self.now, monotonic=lambda: self.at)

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.at) + self.ahead


@pytest.fixture
def host() -> Host:
    return Host()


async def test_until_it_is_known_it_is_the_hosts(host: Host) -> None:
    assert host.clock().now() == host.now()
    assert host.clock().host_ahead == 0


async def test_it_follows_the_database_whatever_the_host_says(host: Host) -> None:
    clock = host.clock()
    clock.measured(NOON, asked=100.0, received=100.0)
    host.ahead = timedelta(hours=-3)
    host.at = 105.0
    assert clock.now() == NOON + timedelta(seconds=5)
    assert clock.host_ahead == pytest.approx(100 - 3 * 3600)


async def test_a_slow_answer_moves_it_only_as_far_as_it_contradicts(host: Host) -> None:
    clock = host.clock()
    clock.measured(NOON, asked=99.99, received=100.01)
    clock.measured(NOON + timedelta(seconds=2), asked=100.0, received=105.0)  # 97 to 102: no news
    assert clock.now() == pytest.approx(NOON, abs=timedelta(milliseconds=11))
    clock.measured(NOON + HOUR, asked=100.0, received=101.0)
    assert clock.now() == NOON + HOUR - timedelta(seconds=1)


async def test_a_slow_first_answer_leaves_the_hosts_time_where_it_agrees(host: Host) -> None:
    """A busy machine's answer takes long: the middle of it would be a time that nobody has."""
    clock = host.clock()
    clock.measured(host.now() - timedelta(milliseconds=10), asked=99.9, received=100.5)
    assert (clock.now(), clock.host_ahead) == (host.now(), 0)


async def test_a_new_connection_measures_it(shared_postgres_url: str) -> None:
    host = Host()
    clock = DatabaseClock(host=lambda: NOON - HOUR, monotonic=lambda: host.at)
    database = Database(shared_postgres_url, clock=clock)
    async with database.read():
        pass
    await database.close()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=30)


async def test_a_host_that_differs_says_so_once(database: Database, host: Host) -> None:
    clock = host.clock()
    watch = ClockWatch(database, setback=store_of(database), on_rescheduled=lambda: None)
    watch._clock = clock
    clock.measured(host.now(), asked=host.at, received=host.at)
    said: list[bool] = []
    for ahead in (0, ALLOWED_OFFSET / 2, 5, 6, -5, 0):
        host.ahead = timedelta(seconds=ahead)
        watch.compare()
        said.append(watch._differs)
    assert said == [False, False, True, True, True, False]


@pytest.fixture
async def database(shared_url: str) -> AsyncIterator[Database]:
    async with emptied(shared_url) as opened:
        yield opened


def store_of(database: Database) -> SetbackStore:
    return SetbackStore(database, webhook_lease=timedelta(seconds=30), webhook_pause=HOUR)


def of_the_future(one: Message, **changes: object) -> Message:
    """As it was written before the clock was set back by an hour."""
    return replace(one, created_at=one.created_at + HOUR, **changes)  # type: ignore[arg-type]


async def test_what_is_dated_in_the_future_becomes_due(database: Database) -> None:
    now = datetime.now(UTC)
    retry = of_the_future(message(Status.QUEUED), next_attempt_at=now + HOUR)
    scheduled = of_the_future(message(Status.QUEUED), next_attempt_at=now + 3 * HOUR)
    scheduled = replace(
        scheduled, request=replace(scheduled.request, send_at=scheduled.next_attempt_at)
    )
    later = replace(message(Status.QUEUED), next_attempt_at=now + HOUR)
    sending = of_the_future(message(), lease_until=now + HOUR + timedelta(seconds=45))
    store = MessageStore(database)
    await store.add(recorded(retry, scheduled, later, sending))
    assert await store_of(database).reschedule(was_set=False) == Rescheduled(2, 1, 0)
    claimed = await store.claim(limit=10, lease=uuid4(), lease_until=now + HOUR)
    assert [one.id for one, _ in claimed] == [retry.id]
    found = await store.find(scheduled.id)
    assert found is not None
    assert found.message.next_attempt_at == scheduled.request.send_at
    found = await store.find(sending.id)
    assert found is not None
    assert found.message.lease_until is not None
    assert abs(found.message.lease_until - now - timedelta(seconds=45)) < timedelta(seconds=20)
    assert await store_of(database).reschedule(was_set=False) == NOTHING


@pytest.mark.parametrize(
    ("due_in", "was_set", "mended"),
    [
        (timedelta(minutes=30), False, False),  # as after a Retry-After
        (timedelta(minutes=30), True, True),
        (2 * HOUR, False, True),
        (-timedelta(minutes=30), True, False),
    ],
)
async def test_webhooks_are_tried_where_they_would_wait_for_a_time_to_come_again(
    database: Database, due_in: timedelta, *, was_set: bool, mended: bool
) -> None:
    due = datetime.now(UTC) + due_in
    hook = await _webhook(database, not_before=due, lease_until=due)
    await store_of(database).reschedule(was_set=was_set)
    async with database.read() as connection:
        row = (await connection.execute(select(webhooks))).one()
        delivery = (await connection.execute(select(webhook_deliveries))).one()
    assert row.id == hook
    assert (row.not_before is None) == mended
    assert (delivery.next_attempt_at < due) == mended
    assert row.lease_until <= max(due, datetime.now(UTC) + timedelta(seconds=30))
    assert row.lease_until == due or due_in > timedelta(0)


async def _webhook(database: Database, **columns: object) -> UUID:
    hook = uuid7()
    now = datetime.now(UTC)
    async with database.write() as connection:
        await connection.execute(
            insert(webhooks).values(
                id=hook,
                app="billing",
                url="https://example.com",
                statuses="DELIVERED",
                secret="whsec_",
                state="ACTIVE",
                created_at=now,
                position=0,
            )
        )
        await connection.execute(update(webhooks).values(lease=uuid4(), **columns))
        await connection.execute(
            insert(webhook_deliveries).values(
                id=uuid7(),
                webhook_id=hook,
                type="message.delivered",
                body="{}",
                state="PENDING",
                created_at=now,
                next_attempt_at=columns["not_before"],
            )
        )
    return hook
