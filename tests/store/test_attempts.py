"""The attempts at a delivery as they are kept: the last 20, and no answers where texts are gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from sqlalchemy import insert, select, update
from uuid_utils.compat import uuid7

from app.model.webhook import Attempt, AttemptResult, Delivery, DeliveryState, Health, WebhookState
from app.store.engine import Database
from app.store.messages import MessageStore
from app.store.outbox.attempts import KEPT, drop_responses
from app.store.outbox.store import OutboxStore
from app.store.tables import messages as message_rows
from app.store.tables import webhook_deliveries, webhooks
from app.store.verbatim import VerbatimStore
from tests.store.samples import message, recorded

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
HEALTH = Health(WebhookState.ACTIVE, None, 1, NOON, None)
ODD = 'out of "order" \\ \'; \u20ac \U0001f600 <b>\r\n'


def attempt(number: int = 0, response: str | None = ODD) -> Attempt:
    at = NOON + timedelta(seconds=number, microseconds=number)
    return Attempt(at, 10 + number, 500, "it answered 500", response)


class Outbox:
    """A delivery of one message's event, and attempts at it."""

    def __init__(self, database: Database, message_id: UUID) -> None:
        self.database = database
        self.message_id = message_id
        self.webhook, self.delivery, self.lease = uuid7(), uuid7(), uuid4()
        self.store = OutboxStore(database)

    async def add(self) -> None:
        hook = {
            "id": self.webhook, "app": "billing", "url": "https://example.com",
            "statuses": "DELIVERED", "secret": "whsec_", "state": "ACTIVE", "created_at": NOON,
            "position": 0,
        }  # fmt: skip
        told = {
            "id": self.delivery, "webhook_id": self.webhook, "message_id": self.message_id,
            "type": "message.delivered", "body": "{}", "state": "PENDING", "created_at": NOON,
            "next_attempt_at": NOON,
        }  # fmt: skip
        async with self.database.write() as connection:
            await connection.execute(insert(webhooks).values(hook))
            await connection.execute(insert(webhook_deliveries).values(told))

    async def record(self, *attempts: Attempt) -> None:
        results = [
            AttemptResult(self.delivery, 0, one.at, DeliveryState.PENDING, one, NOON)
            for one in attempts
        ]
        await self.store.record(self.webhook, results, HEALTH, lease=self.lease, now=NOON)

    async def look(self) -> Delivery:
        (told,) = await VerbatimStore(self.database).webhook_deliveries(self.message_id)
        return told.delivery


@pytest_asyncio.fixture(loop_scope="module")
async def outbox(database: Database, messages: MessageStore) -> Outbox:
    told_of = message()
    await messages.add(recorded(told_of))
    made = Outbox(database, told_of.id)
    await made.add()
    return made


async def test_one_that_was_not_tried_has_none(outbox: Outbox) -> None:
    assert (await outbox.look()).attempt_log == ()


async def test_each_is_kept_as_it_was(outbox: Outbox) -> None:
    timed_out = Attempt(NOON, 10_000, None, "it did not answer within 10 s", None)
    taken = Attempt(NOON, 3, 204, None, None)
    for one in (attempt(), timed_out, taken):
        await outbox.record(one)
    assert (await outbox.look()).attempt_log == (attempt(), timed_out, taken)


async def test_the_last_twenty_are_kept_and_all_are_counted(outbox: Outbox) -> None:
    made = [attempt(number) for number in range(KEPT + 5)]
    await outbox.record(*made[:KEPT])
    assert (await outbox.look()).attempt_log == tuple(made[:KEPT])
    await outbox.record(*made[KEPT:])
    found = await outbox.look()
    assert found.attempt_log == tuple(made[-KEPT:])
    assert found.attempts == KEPT + 5


async def test_what_is_due_comes_without_them(outbox: Outbox) -> None:
    await outbox.record(attempt())
    due = await outbox.store.due(outbox.webhook, now=NOON, limit=10, under_way=[])
    assert [(one.attempts, one.attempt_log) for one in due] == [(1, ())]


async def test_without_a_text_no_answer_is_kept(outbox: Outbox) -> None:
    """Neither one that was there, nor one to an attempt that began before the text was gone."""
    await outbox.record(attempt(1))
    async with outbox.database.write() as connection:
        await connection.execute(update(message_rows).values(message=""))
        await drop_responses(connection, [outbox.message_id])
    await outbox.record(attempt(2))
    found = await outbox.look()
    assert found.attempt_log == (attempt(1, response=None), attempt(2, response=None))
    async with outbox.database.read() as connection:
        log = (await connection.execute(select(webhook_deliveries.c.attempt_log))).scalar_one()
    assert "order" not in log


async def test_answers_about_other_messages_stay(outbox: Outbox) -> None:
    await outbox.record(attempt())
    async with outbox.database.write() as connection:
        await drop_responses(connection, [uuid7()])
    assert (await outbox.look()).attempt_log == (attempt(),)
