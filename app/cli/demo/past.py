"""Two weeks of texts for `dlr demo --keep`, so that the console has something to show.

They are written by the stores of the service, with times of the past. All numbers are of the range
that Ofcom reserves for drama.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from uuid_utils.compat import uuid7

from app.errors import FieldError
from app.model.london import LONDON
from app.model.message import Acceptance, Message, Outcome, Request, Step
from app.model.receipt import Arrival, Receipt, Rejection, interpret
from app.model.status import Status
from app.store.any_of import chunks
from app.store.engine import Database
from app.store.messages import MessageStore, NewMessage
from app.store.receipts import ReceiptStore

MESSAGES = 1_000
DAYS = 14
AT_ONCE = 250
ASKED_ABOUT = "447700900123"
"""The number that the console's first question is about: its text of yesterday was delivered."""

_APPS = (("billing", "447923221231"), ("shipping", "PARCELS"), ("reminders", "CLINIC"))
_TEXTS = {
    "billing": "Your invoice {n} is ready. Thank you.",
    "shipping": "Your parcel {n} arrives today between 2 and 4 pm.",
    "reminders": "Reminder: your appointment is tomorrow at 9:30. Ref {n}",
}
_SAYS = {
    "ACKNOWLEDGED": ("smsc submit", "8"),
    "BUFFERED": ("delivery delayed", "4"),
    "DELIVERED": ("delivery success", "1"),
    "FAILED": ("delivery failure", "2"),
    "EXPIRED": ("delivery expired", "2"),
}
_ENDINGS = (
    (905, ("ACKNOWLEDGED", "DELIVERED")),
    (40, ("ACKNOWLEDGED", "FAILED")),
    (20, ("ACKNOWLEDGED", "BUFFERED", "DELIVERED")),
    (12, ("ACKNOWLEDGED", "BUFFERED", "EXPIRED")),
    (8, ("ACKNOWLEDGED", "DELIVERED", "FAILED")),
    (6, ("REJECTED",)),
    (4, ("UNCONFIRMED",)),
    (3, ("UNSENT",)),
    (2, ()),
)
"""Weights, and the receipts or the outcome of a text; one with neither is overdue after 3 days."""


@dataclass(slots=True)
class Past:
    """Everything that is written, in the order in which the stores want it."""

    messages: list[NewMessage] = field(default_factory=list)
    acceptances: list[Acceptance] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)


async def write_past(database: Database, now: datetime, count: int = MESSAGES) -> int:
    """Write it; returns how many texts there are. Raises StoreUnavailable."""
    past = _past(now, count)
    messages, receipts = MessageStore(database), ReceiptStore(database)
    for new in chunks(past.messages, AT_ONCE):
        await messages.add(new)
    for accepted in chunks(past.acceptances, AT_ONCE):
        await messages.accepted(accepted)
    for outcomes in chunks(past.outcomes, AT_ONCE):
        await messages.settle(outcomes)
    for chunk in chunks(past.receipts, AT_ONCE):
        await receipts.add(chunk, [])
    await receipts.add(_strangers(now), _rejections(now))
    return len(past.messages)


def _past(now: datetime, count: int) -> Past:
    rng = random.Random(42)  # noqa: S311  the same past each time
    past = Past()
    yesterday = datetime.combine(
        (now.astimezone(LONDON) - timedelta(days=1)).date(), datetime.min.time(), LONDON
    )
    asked = yesterday.astimezone(UTC) + timedelta(hours=18, minutes=37, seconds=36)
    _add(past, rng, asked, ("ACKNOWLEDGED", "DELIVERED"), number=ASKED_ABOUT, place=0)
    for place, ending in enumerate(_endings(rng, count - 2), start=1):
        at = _moment(rng, now)
        if ending in ((), ("UNCONFIRMED",)) and place % 2:
            at = now - timedelta(days=rng.uniform(3.2, 6))
        _add(past, rng, at, ending, number=f"4477009{rng.randrange(200, 990):05}", place=place)
    # Some that have not ended: three are on their way, and one is scheduled.
    for minutes in (1, 3, 8):
        at = now - timedelta(minutes=minutes)
        ending = ("ACKNOWLEDGED", "BUFFERED")[:minutes]
        _add(past, rng, at, ending, number=f"44770090060{minutes}", place=count + minutes)
    _schedule(past, now)
    return past


def _endings(rng: random.Random, count: int) -> list[tuple[str, ...]]:
    every = [ending for number, ending in _ENDINGS for _ in range(number)]
    return rng.choices(every, k=count)


def _moment(rng: random.Random, now: datetime) -> datetime:
    """Most texts go out by day, and fewer at weekends."""
    while True:
        at = now - timedelta(minutes=15) - timedelta(days=rng.uniform(0, DAYS))
        local = at.astimezone(LONDON)
        likely = (0.15 if not 7 <= local.hour < 21 else 1.0) * (0.4 if local.weekday() > 4 else 1.0)
        if rng.random() < likely:
            return at


def _add(
    past: Past, rng: random.Random, at: datetime, ending: Sequence[str], *, number: str, place: int
) -> None:
    app, origin = _APPS[rng.choices((0, 1, 2), weights=(5, 3, 2))[0]]
    if number == ASKED_ABOUT:
        app, origin = _APPS[0]
    lease = uuid4()
    message = Message(
        id=uuid7(nanoseconds=int(at.timestamp() * 1_000) * 1_000_000),
        app=app,
        request=Request(
            origin=origin,
            destination=number,
            text=_TEXTS[app].format(n=10_000 + place),
            reference=f"order-{10_000 + place}",
            c2c_failover_link_id="123456" if app == "reminders" else None,
        ),
        created_at=at,
        state=Status.SENDING,
        lease=lease,
        lease_until=datetime.now(UTC) + timedelta(minutes=5),
    )
    past.messages.append(NewMessage(message))
    submitted = at + timedelta(seconds=rng.uniform(0.2, 0.9))
    if ending and ending[0] in ("REJECTED", "UNCONFIRMED", "UNSENT"):
        past.outcomes.append(_outcome(message, lease, Status(ending[0]), submitted))
        return
    name = str(uuid4())
    past.acceptances.append(Acceptance(message.id, name, submitted))
    past.receipts += _receipts_of(name, submitted, ending, rng)


def _outcome(message: Message, lease: UUID, status: Status, at: datetime) -> Outcome:
    why = {
        Status.REJECTED: "Destination Invalid",
        Status.UNCONFIRMED: "iovox did not answer within 30 s",
        Status.UNSENT: "iovox could not be reached until its time was over",
    }[status]
    errors = (FieldError("destination", why),) if status is Status.REJECTED else ()
    return Outcome(message.id, lease, Step(status, at, (why,)), announce=True, errors=errors)


def _receipts_of(
    name: str, submitted: datetime, ending: Sequence[str], rng: random.Random
) -> Iterator[Receipt]:
    at = submitted
    for status in ending:
        at += timedelta(seconds=1 + rng.expovariate(1 / (240 if "BUFFERED" in ending else 6)))
        yield _receipt(name, status, at, at + timedelta(seconds=rng.uniform(0.3, 1.5)))


def _receipt(name: str, status: str, at: datetime, received_at: datetime) -> Receipt:
    says, reason = _SAYS[status]
    body = {
        "sms_activity_id": name,
        "delivery_status": says,
        "status_reason": reason,
        "receipt_timestamp": f"{at.astimezone(LONDON):%Y-%m-%d %H:%M:%S}",
        "status": status,
    }
    arrival = Arrival(uuid7(), received_at, json.dumps(body).encode())
    receipt = interpret(arrival)
    if not isinstance(receipt, Receipt):
        raise TypeError(receipt.reason)
    return receipt


def _schedule(past: Past, now: datetime) -> None:
    due = (now + timedelta(days=1)).replace(hour=9, minute=0, second=0, microsecond=0)
    app, origin = _APPS[2]
    text = _TEXTS[app].format(n=12_345)
    request = Request(
        origin=origin,
        destination="447700900124",
        text=text,
        reference="appointment-7",
        send_at=due,
    )
    message = Message(
        id=uuid7(),
        app=app,
        request=request,
        created_at=now,
        state=Status.QUEUED,
        announced=True,
        next_attempt_at=due,
        give_up_at=due + timedelta(days=1),
    )
    past.messages.append(NewMessage(message))


def _strangers(now: datetime) -> list[Receipt]:
    """Receipts for texts that are not ours."""
    return [
        _receipt(f"somebody-elses-text-{number}", status, at, at + timedelta(seconds=1))
        for number, status in ((1, "DELIVERED"), (2, "FAILED"))
        for at in (now - timedelta(hours=5 * number),)
    ]


def _rejections(now: datetime) -> list[Rejection]:
    body = b'{"delivery_status": "delivery success", "receipt_timestamp": "2026-11-22 09:00:00"}'
    arrival = Arrival(uuid7(), now - timedelta(hours=3), body)
    read = interpret(arrival)
    return [read] if isinstance(read, Rejection) else []
