"""A message and its receipts meet, in every order, through the real stores on both databases."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from uuid import uuid4

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.model.message import Message
from app.model.status import Status
from app.store.engine import Database
from app.store.history import HistoryStore
from app.store.messages import MessageStore
from app.store.receipts import ReceiptStore
from tests.store.samples import (
    Event,
    acceptance,
    all_events,
    arrival,
    at,
    found,
    kept_receipts,
    message,
    outcome,
    receipt,
    recorded,
    rejection,
    statuses_of,
    understood,
)
from tests.support.statuses import status_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

LETTERS = {
    "A": "ACKNOWLEDGED",
    "B": "BUFFERED",
    "F": "FAILED",
    "E": "EXPIRED",
    "D": "DELIVERED",
    "U": "NEVER HEARD OF",
}

# What happens to a message that is being sent, in words parted by spaces: `answer` is iovox's
# with its id; `lost` and `refused` are other ends of the attempt; `A37` is the ACKNOWLEDGED of
# second 37, `A37!` has X-Message-Id, `A37+D46` come in one batch. Then: the status, and the events.
STORIES = [
    ("nothing but the answer", "answer", "SUBMITTED", "SUBMITTED"),
    ("the usual case", "answer A37 D46", "DELIVERED", "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("receipts first", "A37 D46 answer", "DELIVERED", "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("the answer between", "A37 answer D46", "DELIVERED", "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("backwards, then the answer", "D46 A37 answer", "DELIVERED",
     "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("backwards, the answer between", "D46 answer A37", "DELIVERED", "SUBMITTED DELIVERED"),
    ("the answer, then backwards", "answer D46 A37", "DELIVERED", "SUBMITTED DELIVERED"),
    ("one batch after", "answer A37+D46", "DELIVERED", "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("one batch before", "A37+D46 answer", "DELIVERED", "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("one batch, one second", "answer A46+D46", "DELIVERED", "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("that, backwards", "answer D46+A46", "DELIVERED", "SUBMITTED DELIVERED"),
    ("one batch before, one second", "D46+A46 answer", "DELIVERED",
     "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("buffered twice", "answer A1 B2 B3 D4", "DELIVERED",
     "SUBMITTED ACKNOWLEDGED BUFFERED BUFFERED DELIVERED"),
    ("an older one is no event", "answer B3 A1 B2 D4", "DELIVERED", "SUBMITTED BUFFERED DELIVERED"),
    ("one second: buffered", "answer A1 B1", "BUFFERED", "SUBMITTED ACKNOWLEDGED BUFFERED"),
    ("one second: buffered first", "answer B1 A1", "BUFFERED", "SUBMITTED BUFFERED"),
    ("failed after expired", "answer E1 F2", "FAILED", "SUBMITTED EXPIRED FAILED"),
    ("expired after failed", "answer F1 E2", "EXPIRED", "SUBMITTED FAILED EXPIRED"),
    ("one second: failed", "answer F1+E1", "FAILED", "SUBMITTED FAILED"),
    ("a late failure", "answer D1 F9", "DELIVERED", "SUBMITTED DELIVERED (DELIVERED!)"),
    ("a failure that is late to arrive", "answer D5 E2", "DELIVERED",
     "SUBMITTED DELIVERED (DELIVERED!)"),
    ("a late failure again and again", "answer D1 F9 F9 E10 F11", "DELIVERED",
     "SUBMITTED DELIVERED (DELIVERED!)"),
    ("late failures in one batch", "answer D1 F9+E9+F9", "DELIVERED",
     "SUBMITTED DELIVERED (DELIVERED!)"),
    ("an earlier delivery among late failures", "answer D5 F9+D1", "DELIVERED",
     "SUBMITTED DELIVERED (DELIVERED!)"),
    ("a later delivery among late failures", "answer D5 F9+D7", "DELIVERED",
     "SUBMITTED DELIVERED DELIVERED!"),
    ("failed before in a batch with a later delivery", "answer D5 F9 F8+D7", "DELIVERED",
     "SUBMITTED DELIVERED (DELIVERED!) DELIVERED!"),
    ("delivered and failed in one batch", "answer D1+F9", "DELIVERED", "SUBMITTED DELIVERED!"),
    ("failed and delivered in one batch", "answer F1+D9", "DELIVERED",
     "SUBMITTED FAILED DELIVERED!"),
    ("delivered after all", "answer F1 D0", "DELIVERED", "SUBMITTED FAILED DELIVERED!"),
    ("both before the answer", "D1 F9 answer", "DELIVERED", "SUBMITTED FAILED DELIVERED!"),
    ("both before the answer, then again", "F1 D9 answer F1 E3 D9 D11", "DELIVERED",
     "SUBMITTED FAILED DELIVERED! DELIVERED!"),
    ("both named", "D1! F9!", "DELIVERED", "SUBMITTED DELIVERED (DELIVERED!)"),
    ("named by the late failure", "D1 F9!", "DELIVERED", "SUBMITTED FAILED DELIVERED!"),
    ("the answer between both", "D1 answer F9", "DELIVERED", "SUBMITTED DELIVERED (DELIVERED!)"),
    ("repeated in a batch", "answer A1+A1+A1+D2+D2", "DELIVERED",
     "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("repeated later", "answer A1 D2 A1 D2 A1+D2", "DELIVERED",
     "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("repeated before the answer", "A1 A1 D2+D2 answer A1 D2", "DELIVERED",
     "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("answered twice", "answer A1 answer D2 answer", "DELIVERED",
     "SUBMITTED ACKNOWLEDGED DELIVERED"),
    # X-Message-Id
    ("named by the first", "A1! D2", "DELIVERED", "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("named by the second", "A1 D2!", "DELIVERED", "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("named by one of a batch", "A1+D2!", "DELIVERED", "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("named by each", "D2!+A1! A1! D2!", "DELIVERED", "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("named, then answered", "A1! answer D2", "DELIVERED", "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("answered, then named", "answer A1! D2!", "DELIVERED", "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("named by a repetition only", "A1 A1!", "ACKNOWLEDGED", "SUBMITTED ACKNOWLEDGED"),
    ("named by one in its own batch", "A1+A1!", "ACKNOWLEDGED", "SUBMITTED ACKNOWLEDGED"),
    # the answer that was lost
    ("lost", "lost", "UNCONFIRMED", "UNCONFIRMED"),
    ("lost, then named", "lost A1! D2", "DELIVERED",
     "UNCONFIRMED SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("receipts, lost, then named", "A1 lost D2!", "DELIVERED",
     "UNCONFIRMED SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("named before it was lost", "A1! lost D2", "DELIVERED",
     "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("lost, and never named", "lost A1 D2", "UNCONFIRMED", "UNCONFIRMED"),
    ("a late answer", "A1 lost answer D2", "DELIVERED",
     "UNCONFIRMED SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("refused, but named by a receipt", "refused D2!", "DELIVERED",
     "REJECTED SUBMITTED DELIVERED"),
    # statuses that nobody knows
    ("unknown, alone", "answer U1", "SUBMITTED", "SUBMITTED"),
    ("unknown first", "U1 answer", "SUBMITTED", "SUBMITTED"),
    ("unknown, named", "U1!", "SUBMITTED", "SUBMITTED"),
    ("unknown among known", "U9 A1 U8 answer U7 D2 U99", "DELIVERED",
     "SUBMITTED ACKNOWLEDGED DELIVERED"),
    ("unknown in one batch with known", "answer U9+A1", "ACKNOWLEDGED", "SUBMITTED ACKNOWLEDGED"),
]  # fmt: skip


class Told:
    """One message and the id that iovox gives it, as a story goes on."""

    def __init__(self, of: Message, messages: MessageStore, receipts: ReceiptStore) -> None:
        self.of = of
        self.id = f"id-of-{of.id}"
        self._messages = messages
        self._receipts = receipts

    async def tell(self, story: str) -> None:
        for word in story.split():
            if word == "answer":
                await self._messages.accepted([acceptance(self.of, self.id)])
            elif word == "lost":
                await self._messages.settle([outcome(self.of, Status.UNCONFIRMED)])
            elif word == "refused":
                await self._messages.settle([outcome(self.of, Status.REJECTED)])
            else:
                batch = [
                    receipt(
                        self.id,
                        LETTERS[each[0]],
                        int(each[1:].rstrip("!")),
                        hint=self.of.id if each.endswith("!") else None,
                    )
                    for each in word.split("+")
                ]
                await self._receipts.add(batch, [])


@pytest_asyncio.fixture(loop_scope="module")
async def told(messages: MessageStore, receipts: ReceiptStore) -> Told:
    of = message()
    await messages.add(recorded(of))
    return Told(of, messages, receipts)


@pytest.mark.parametrize(
    ("story", "status", "events"), [pytest.param(*row[1:], id=row[0]) for row in STORIES]
)
async def test_stories(
    told: Told, history: HistoryStore, database: Database, story: str, status: str, events: str
) -> None:
    await told.tell(story)
    record = await found(history, told.of.id)
    assert record.status == status
    assert await statuses_of(database, told.of) == events.split()
    if "SUBMITTED" in events:
        assert await found(history, told.id) == record
        assert record.message is not None
        assert (record.message.state, record.message.lease) == (Status.SUBMITTED, None)
        assert {e.sms_activity_id for e in await all_events(database)} >= {told.id}


WITHOUT_A_MESSAGE = [
    ("acknowledged", "A1", "ACKNOWLEDGED", 1),
    ("delivered, backwards", "D2 A1", "DELIVERED", 2),
    ("unknown", "U1", "UNKNOWN", None),
    ("unknown, then known", "U1 A2", "ACKNOWLEDGED", 2),
    ("known, then unknown", "A2 U9", "ACKNOWLEDGED", 2),
    ("both at once", "U9+A2", "ACKNOWLEDGED", 2),
]


@pytest.mark.parametrize(
    ("story", "status", "second"), [pytest.param(*row[1:], id=row[0]) for row in WITHOUT_A_MESSAGE]
)
async def test_receipts_of_an_id_that_nobody_knows(
    told: Told,
    history: HistoryStore,
    database: Database,
    story: str,
    status: str,
    second: int | None,
) -> None:
    await told.tell(story)
    record = await found(history, told.id)
    assert record.message is None
    assert (record.status, record.status_at) == (status, None if second is None else at(second))
    assert len(record.receipts) == len(story.replace("+", " ").split())
    assert await all_events(database) == []


CONTRADICTORY = [
    ("delivered, then failed", "answer D1 F2", True),
    ("expired, then delivered, before the answer", "E1 D2 answer", True),
    ("in one batch", "answer F1+D1", True),
    ("named", "F1! D2!", True),
    ("failed and expired", "answer F1 E2", False),
    ("delivered twice", "answer D1 D2", False),
    ("a late failure again and again", "answer D1 F2 F2", True),
]


@pytest.mark.parametrize(
    ("story", "expected"), [pytest.param(*row[1:], id=row[0]) for row in CONTRADICTORY]
)
async def test_contradictory(told: Told, history: HistoryStore, story: str, expected: bool) -> None:
    await told.tell(story)
    record = await found(history, told.id)
    assert record.contradictory is expected


async def test_a_cancelled_message_is_left_alone(
    messages: MessageStore, receipts: ReceiptStore, history: HistoryStore, database: Database
) -> None:
    of = message(Status.QUEUED)
    await messages.add(recorded(of))
    assert await messages.cancel(of, of.created_at) is not None
    stored = await receipts.add([receipt("late", "DELIVERED", hint=of.id)], [])
    assert stored.ignored_hints == ((of.id, "late"),)
    assert await messages.accepted([acceptance(of, "late")]) == {of.id: None}
    record = await found(history, of.id)
    assert (record.status, record.sms_activity_id) == ("CANCELLED", None)
    assert await statuses_of(database, of) == ["QUEUED", "CANCELLED"]


async def test_a_queued_message_that_a_receipt_names_is_sent_no_more(
    messages: MessageStore, receipts: ReceiptStore, history: HistoryStore, database: Database
) -> None:
    # iovox's answer said that it had not taken it, and now a receipt says that it had.
    of = message(Status.QUEUED)
    await messages.add(recorded(of))
    await receipts.add([receipt("after-all", "DELIVERED", hint=of.id)], [])
    record = await found(history, of.id)
    assert record.message is not None
    assert (record.status, record.message.next_attempt_at) == ("DELIVERED", None)
    assert await statuses_of(database, of) == ["QUEUED", "SUBMITTED", "DELIVERED"]
    assert not await messages.cancel(of, of.created_at)


async def test_a_name_that_is_no_message_is_ignored_and_told(
    receipts: ReceiptStore, history: HistoryStore
) -> None:
    nobody = uuid4()
    stored = await receipts.add([receipt("some", "DELIVERED", hint=nobody)], [])
    assert stored.ignored_hints == ((nobody, "some"),)
    record = await found(history, "some")
    assert record.status == "DELIVERED"


async def test_a_name_that_has_another_id_is_ignored_and_told(
    messages: MessageStore, receipts: ReceiptStore, history: HistoryStore, database: Database
) -> None:
    of = message()
    await messages.add(recorded(of))
    await messages.accepted([acceptance(of, "mine")])
    stored = await receipts.add([receipt("foreign", "DELIVERED", hint=of.id)], [])
    assert stored.ignored_hints == ((of.id, "foreign"),)
    record = await found(history, of.id)
    assert (record.status, record.sms_activity_id) == ("SUBMITTED", "mine")
    assert await statuses_of(database, of) == ["SUBMITTED"]


async def test_one_name_for_two_ids_in_one_batch(
    messages: MessageStore, receipts: ReceiptStore, history: HistoryStore
) -> None:
    of = message()
    await messages.add(recorded(of))
    both = [receipt("first", "ACKNOWLEDGED", hint=of.id), receipt("a", "DELIVERED", hint=of.id)]
    stored = await receipts.add(both, [])
    assert stored.ignored_hints == ((of.id, "a"),)
    record = await found(history, of.id)
    assert (record.sms_activity_id, record.status) == ("first", "ACKNOWLEDGED")


async def test_two_names_for_one_id_in_one_batch(
    messages: MessageStore, receipts: ReceiptStore, history: HistoryStore
) -> None:
    first, second = message(), message()
    await messages.add(recorded(first, second))
    both = [
        receipt("it", "ACKNOWLEDGED", hint=second.id),
        receipt("it", "DELIVERED", hint=first.id),
    ]
    stored = await receipts.add(both, [])
    assert stored.ignored_hints == ((first.id, "it"),)
    record = await found(history, "it")
    assert record.message is not None
    assert record.message.id == second.id


async def test_a_name_that_differs_from_the_message_it_belongs_to_is_told(
    messages: MessageStore, receipts: ReceiptStore, database: Database
) -> None:
    mine, other = message(), message()
    await messages.add(recorded(mine, other))
    await messages.accepted([acceptance(mine, "mine")])
    stored = await receipts.add([receipt("mine", "DELIVERED", hint=other.id)], [])
    assert stored.ignored_hints == ((other.id, "mine"),)
    assert await statuses_of(database, other) == []
    assert await statuses_of(database, mine) == ["SUBMITTED", "DELIVERED"]


async def test_an_id_given_twice_stays_with_the_first(
    messages: MessageStore, history: HistoryStore, database: Database
) -> None:
    first, second = message(), message()
    await messages.add(recorded(first, second))
    assert await messages.accepted([acceptance(first, "it")]) == {first.id: "it"}
    assert await messages.accepted([acceptance(second, "it")]) == {second.id: None}
    record = await found(history, "it")
    assert record.message is not None
    assert record.message.id == first.id
    assert await statuses_of(database, second) == []


async def test_rivals_for_an_id_in_one_batch(messages: MessageStore, database: Database) -> None:
    first, second = message(), message()
    await messages.add(recorded(first, second))
    both = [acceptance(second, "it"), acceptance(first, "it")]
    assert await messages.accepted(both) == {second.id: "it", first.id: None}
    assert await statuses_of(database, first) == []


async def test_a_second_id_for_a_message_is_not_taken(
    messages: MessageStore, receipts: ReceiptStore, history: HistoryStore
) -> None:
    of = message()
    await messages.add(recorded(of))
    both = [acceptance(of, "one"), acceptance(of, "two")]
    assert await messages.accepted(both) == {of.id: "one"}
    assert await messages.accepted([acceptance(of, "two")]) == {of.id: "one"}
    await receipts.add([receipt("two", "DELIVERED")], [])
    record = await found(history, of.id)
    assert (record.status, record.sms_activity_id) == ("SUBMITTED", "one")


async def test_the_submission_bears_the_time_of_the_answer(
    messages: MessageStore, history: HistoryStore
) -> None:
    of = message()
    await messages.add(recorded(of))
    answered_at = at(3)
    await messages.accepted([replace(acceptance(of, "it"), at=answered_at)])
    record = await found(history, of.id)
    assert (record.submitted_at, record.status_at) == (answered_at, answered_at)


async def test_a_batch_of_many_messages_is_one_log_in_order(
    messages: MessageStore, receipts: ReceiptStore, database: Database
) -> None:
    many = [message(app=f"app-{n % 3}") for n in range(60)]
    await messages.add(recorded(*many))
    await messages.accepted([acceptance(of, f"sid-{n}") for n, of in enumerate(many)])
    batch = [
        receipt(f"sid-{n}", status, second)
        for status, second in (("ACKNOWLEDGED", 1), ("BUFFERED", 2), ("DELIVERED", 3))
        for n in reversed(range(60))
    ]
    await receipts.add(batch, [])
    log = await all_events(database)
    assert len(log) == 240
    for n, of in enumerate(many):
        of_this = [event for event in log if event.message_id == of.id]
        assert of_this == [
            Event(of.id, f"sid-{n}", status)
            for status in ("SUBMITTED", "ACKNOWLEDGED", "BUFFERED", "DELIVERED")
        ]


async def test_each_permutation_of_four_receipts(
    messages: MessageStore, receipts: ReceiptStore, history: HistoryStore
) -> None:
    four = [("ACKNOWLEDGED", 1), ("BUFFERED", 1), ("FAILED", 2), ("EXPIRED", 2)]
    orders = list(itertools.permutations(four))
    for turn in range(4):
        batch = [receipt(f"order-{n}", *order[turn]) for n, order in enumerate(orders)]
        await receipts.add(batch, [])
    for n, order in enumerate(orders):
        record = await found(history, f"order-{n}")
        assert (record.status, record.status_at) == ("FAILED", at(2)), order


SOME_RECEIPTS = st.lists(
    st.tuples(st.sampled_from(sorted(LETTERS.values())), st.integers(0, 3)), min_size=1, max_size=6
)
"""Their statuses and seconds."""
ONE_AFTER_ANOTHER = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ONE_AFTER_ANOTHER
@given(of=SOME_RECEIPTS, chance=st.randoms(use_true_random=False))
async def test_no_order_and_no_repetition_changes_the_status(
    receipts: ReceiptStore,
    history: HistoryStore,
    database: Database,
    of: list[tuple[str, int]],
    chance: random.Random,
) -> None:
    sms_activity_id = str(uuid4())
    arrivals = [receipt(sms_activity_id, *one) for one in of for _ in range(chance.randint(1, 3))]
    chance.shuffle(arrivals)
    rest = arrivals
    while rest:
        size = chance.randint(1, len(rest))
        await receipts.add(rest[:size], [])
        rest = rest[size:]
    record = await found(history, sms_activity_id)
    assert record.status == (status_of([(s, at(second)) for s, second in of]) or "UNKNOWN")
    assert sum(kept.times_seen for kept in record.receipts) == len(arrivals)
    assert len(record.receipts) == len(set(of))


@ONE_AFTER_ANOTHER
@given(of=SOME_RECEIPTS, chance=st.randoms(use_true_random=False))
async def test_no_order_and_no_repetition_tells_a_contradiction_twice(
    receipts: ReceiptStore,
    messages: MessageStore,
    history: HistoryStore,
    database: Database,
    of: list[tuple[str, int]],
    chance: random.Random,
) -> None:
    told = Told(message(), messages, receipts)
    await messages.add(recorded(told.of))
    rest = [receipt(told.id, *one) for one in of for _ in range(chance.randint(1, 3))]
    chance.shuffle(rest)
    batches = []
    while rest:
        size = chance.randint(1, len(rest))
        batches.append(rest[:size])
        rest = rest[size:]
    answered_before = chance.randint(0, len(batches))
    for number, batch in enumerate([*batches, []]):
        if number == answered_before:
            await told.tell("answer")
        before = await all_events(database, told.of)
        await receipts.add(batch, [])
        fresh = (await all_events(database, told.of))[len(before) :]
        assert len(fresh) == 1 or not any(one.status_stays for one in fresh)
    log = await all_events(database, told.of)
    record = await found(history, told.of.id)
    assert sum(one.status_stays for one in log) <= 1
    assert log[-1].contradictory == record.contradictory
    assert log[-1].status == record.status
    assert all(one.status == "DELIVERED" for one in log if one.contradictory)
    is_so = [one.contradictory for one in log]
    assert is_so == sorted(is_so)  # once contradictory, always contradictory


async def test_46_times(receipts: ReceiptStore, database: Database) -> None:
    calls = [receipt("it", "DELIVERED") for _ in range(46)]
    for start in (0, 1, 3, 10, 30):
        await receipts.add(calls[start : {0: 1, 1: 3, 3: 10, 10: 30, 30: 46}[start]], [])
    (kept,) = await kept_receipts(database, "it")
    first = calls[0].arrival
    assert kept == (first.id, first.received_at, first.body, 46)


TIMES = [
    ("in one batch", [46]),
    ("more than are kept, in one batch", [250]),
    ("once, then more than are kept", [1, 250]),
    ("many, then one", [150, 1]),
    ("many, again and again", [101, 101, 101]),
    ("one by one around the limit", [98, 1, 1, 1, 1, 1]),
]


@pytest.mark.parametrize("sizes", [pytest.param(row[1], id=row[0]) for row in TIMES])
async def test_each_arrival_counts_and_no_replay_does(
    receipts: ReceiptStore, database: Database, sizes: list[int]
) -> None:
    total = 0
    for size in sizes:
        batch = [receipt("it", "DELIVERED") for _ in range(size)]
        await receipts.add(batch, [])
        total += size
        assert (await kept_receipts(database, "it"))[0].times_seen == total
        # A slow commit that landed after all: the youngest arrivals come out of the spool again.
        await receipts.add(batch[-40:], [])
        assert (await kept_receipts(database, "it"))[0].times_seen == total


async def test_a_replay_with_others_in_its_batch(
    receipts: ReceiptStore, messages: MessageStore, database: Database
) -> None:
    of = message()
    await messages.add(recorded(of))
    await messages.accepted([acceptance(of, "it")])
    first = [receipt("it", "ACKNOWLEDGED", 1), receipt("it", "ACKNOWLEDGED", 1)]
    await receipts.add(first, [])
    again = [*first, receipt("it", "DELIVERED", 2), first[0], receipt("it", "ACKNOWLEDGED", 1)]
    await receipts.add(again, [])
    acknowledged, delivered = await kept_receipts(database, "it")
    assert (acknowledged.times_seen, delivered.times_seen) == (3, 1)
    assert acknowledged.id == first[0].arrival.id
    assert await statuses_of(database, of) == ["SUBMITTED", "ACKNOWLEDGED", "DELIVERED"]


async def test_one_arrival_twice_in_a_batch_is_one(
    receipts: ReceiptStore, database: Database
) -> None:
    one = receipt("it", "DELIVERED")
    await receipts.add([one, one], [])
    assert (await kept_receipts(database, "it"))[0].times_seen == 1


async def test_a_number_and_its_text_are_one_receipt(
    receipts: ReceiptStore, database: Database
) -> None:
    number = understood(arrival("it", "DELIVERED", status_reason=8))
    text = understood(arrival("it", "DELIVERED", status_reason="8"))
    await receipts.add([number], [])
    await receipts.add([text], [])
    (kept,) = await kept_receipts(database, "it")
    assert (kept.times_seen, kept.body) == (2, number.arrival.body)


async def test_null_and_an_empty_text_are_two(receipts: ReceiptStore, database: Database) -> None:
    null = understood(arrival("it", "DELIVERED", status_reason=None))
    empty = understood(arrival("it", "DELIVERED", status_reason=""))
    await receipts.add([null, empty], [])
    assert [kept.times_seen for kept in await kept_receipts(database, "it")] == [1, 1]


async def test_opaque_ids_are_told_apart_by_case_and_zeros(
    receipts: ReceiptStore, history: HistoryStore
) -> None:
    ids = ["it", "IT", "i t", "0", "00", "é", "e\u0301"]
    await receipts.add([receipt(each, "DELIVERED") for each in ids], [])
    for each in ids:
        record = await found(history, each)
        assert (record.sms_activity_id, len(record.receipts)) == (each, 1)


async def test_rejections_are_kept_word_for_word_and_once(
    receipts: ReceiptStore, database: Database
) -> None:
    bodies = [b"", b"\x00\xff", b"not JSON", "{'é'}".encode(), b"x" * 65_536]
    calls = [rejection(body) for body in bodies]
    await receipts.add([receipt("beside", "DELIVERED")], calls)
    await receipts.add([], calls)  # a replay
    kept = await receipts.rejected(limit=10)
    assert [one.arrival for one in kept] == [call.arrival for call in calls]
    assert [(one.http_status, one.replayed_at) for one in kept] == [(400, None)] * 5
    assert [one.arrival.body for one in await receipts.rejected(limit=2)] == bodies[:2]


async def test_a_replayed_rejection_is_a_receipt_and_shown_no_more(
    receipts: ReceiptStore, database: Database
) -> None:
    call = rejection()
    await receipts.add([], [call])
    mended = understood(arrival("it", "DELIVERED", name=call.arrival.id))
    await receipts.replayed(mended, at(60))
    await receipts.replayed(mended, at(61))  # harmless
    assert await receipts.rejected(limit=10) == []
    (kept,) = await receipts.rejected(limit=10, include_replayed=True)
    assert kept.replayed_at is not None
    assert [one.times_seen for one in await kept_receipts(database, "it")] == [1]


async def test_nothing_at_all(receipts: ReceiptStore, database: Database) -> None:
    stored = await receipts.add([], [])
    assert stored.ignored_hints == ()
    assert await all_events(database) == []
