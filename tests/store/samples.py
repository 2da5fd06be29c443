"""Receipts, messages and what came of them, for tests that talk to the stores."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import select
from uuid_utils.compat import uuid7

from app.model.message import Acceptance, Message, Outcome, Record, Request, Step
from app.model.receipt import Arrival, Receipt, Rejection, interpret
from app.model.status import Status
from app.store.engine import Database
from app.store.history import HistoryStore
from app.store.messages import NewMessage
from app.store.tables import events, receipts

NOON = datetime(2020, 5, 6, 11, tzinfo=UTC)  # 12:00 in London
RECEIVED_AT = NOON + timedelta(minutes=5)


def at(second: int) -> datetime:
    """The UTC time of a receipt that was made with this second."""
    return NOON + timedelta(seconds=second)


def arrival(
    sms_activity_id: str,
    status: str,
    second: int = 0,
    *,
    hint: UUID | None = None,
    name: UUID | None = None,
    **fields: object,
) -> Arrival:
    """A call as iovox makes it, ``second`` seconds after noon in London."""
    body = {
        "sms_activity_id": sms_activity_id,
        "status": status,
        "receipt_timestamp": f"2020-05-06 12:{second // 60:02}:{second % 60:02}",
        **fields,
    }
    return Arrival(name or uuid7(), RECEIVED_AT, json.dumps(body).encode(), hint)


def understood(call: Arrival) -> Receipt:
    found = interpret(call)
    assert isinstance(found, Receipt), found
    return found


def receipt(
    sms_activity_id: str, status: str, second: int = 0, *, hint: UUID | None = None
) -> Receipt:
    return understood(arrival(sms_activity_id, status, second, hint=hint))


def rejection(body: bytes = b"not JSON") -> Rejection:
    found = interpret(Arrival(uuid7(), RECEIVED_AT, body))
    assert isinstance(found, Rejection), found
    return found


def message(
    state: Status = Status.SENDING, *, app: str = "billing", text: str = "Hello there"
) -> Message:
    """A message that is being sent, or one that waits in the queue."""
    now = datetime.now(UTC)
    sending = state is Status.SENDING
    return Message(
        id=uuid7(),
        app=app,
        request=Request("447923221231", "447723443321", text),
        created_at=now,
        state=state,
        announced=not sending,
        lease=uuid4() if sending else None,
        lease_until=now + timedelta(minutes=1) if sending else None,
        next_attempt_at=None if sending else now + timedelta(hours=1),
    )


def recorded(*messages: Message) -> list[NewMessage]:
    return [NewMessage(one) for one in messages]


def acceptance(of: Message, sms_activity_id: str) -> Acceptance:
    return Acceptance(of.id, sms_activity_id, datetime.now(UTC))


def outcome(of: Message, status: Status) -> Outcome:
    """How an attempt at a message of ``message`` ended, told with an event."""
    step = Step(status, datetime.now(UTC), ("as the test says",))
    return Outcome(of.id, of.lease, step, announce=True)


async def found(history: HistoryStore, name: UUID | str) -> Record:
    """What an id of either kind names; it must name something."""
    record = await history.find(str(name))
    assert record is not None, name
    return record


class Event(NamedTuple):
    """An event without its times of day."""

    message_id: UUID
    sms_activity_id: str | None
    status: str
    contradictory: bool = False
    status_stays: bool = False

    def __str__(self) -> str:
        """``DELIVERED!`` is of a contradictory message, ``(DELIVERED!)`` tells that alone."""
        text = f"{self.status}!" if self.contradictory else self.status
        return f"({text})" if self.status_stays else text


async def all_events(database: Database, *of: Message) -> list[Event]:
    """The log in its order: all of it, or what it says of some messages."""
    query = select(*(events.c[name] for name in Event._fields))
    if of:
        query = query.where(events.c.message_id.in_([one.id for one in of]))
    async with database.read() as connection:
        return [Event(*row) for row in await connection.execute(query.order_by(events.c.id))]


async def statuses_of(database: Database, of: Message) -> list[str]:
    """The statuses that a message's events tell, in order, as ``Event`` writes them."""
    return [str(event) for event in await all_events(database, of)]


class Kept(NamedTuple):
    """What a receipt's row tells of its arrivals."""

    id: UUID
    received_at: datetime
    body: bytes
    times_seen: int


async def kept_receipts(database: Database, sms_activity_id: str) -> list[Kept]:
    """The rows of one id, in the order of their times."""
    columns = (receipts.c.id, receipts.c.received_at, receipts.c.body, receipts.c.times_seen)
    mine = receipts.c.sms_activity_id == sms_activity_id
    async with database.read() as connection:
        rows = await connection.execute(
            select(*columns).where(mine).order_by(receipts.c.status_key, receipts.c.id)
        )
        return [Kept(*row) for row in rows]
