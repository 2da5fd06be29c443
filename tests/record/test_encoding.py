"""Facts as bytes: whatever they hold, they are read as they were written; damage is noticed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FieldError
from app.model.audit import Actor, Entry
from app.model.erased_keys import erased_name, is_erased
from app.model.erasure import Erasure
from app.model.fact import (
    Accepted,
    Arrived,
    Audited,
    ClaimedKey,
    Ended,
    Erased,
    Fact,
    Gap,
    Held,
    Mark,
    Met,
    OnWire,
    Recorded,
    Settled,
)
from app.model.message import Message, Request, Step
from app.model.receipt import Arrival
from app.model.status import Status
from app.record.encoding import decode, encode, encode_arrivals
from app.record.framing import HEADER_SIZE, Damaged, Raw, frame, unframe

TIMES = st.integers(0, 4_000_000_000_000_000).map(
    lambda us: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
)
IDS = st.uuids()
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SOME = st.none() | WORDS
REQUESTS = st.builds(
    Request, WORDS, WORDS, WORDS, st.none() | st.integers(1, 99), SOME, SOME, st.none() | TIMES
)
MESSAGES = st.builds(
    Message,
    id=IDS,
    app=WORDS,
    request=REQUESTS,
    created_at=TIMES,
    state=st.sampled_from(Status),
    attempts=st.integers(0, 99),
    leases=st.integers(0, 99),
    announced=st.booleans(),
    lease=st.none() | IDS,
    lease_until=st.none() | TIMES,
    next_attempt_at=st.none() | TIMES,
    give_up_at=st.none() | TIMES,
    resend_of=st.none() | IDS,
)
KEYS = WORDS.filter(lambda key: bool(key) and not is_erased(key))  # those that a caller can send
PRINTS = st.binary(max_size=16)
CLAIMS = st.builds(
    lambda claim, is_erased: (
        replace(claim, key=erased_name(claim.fingerprint)) if is_erased else claim
    ),
    st.builds(ClaimedKey, WORDS, KEYS, PRINTS, TIMES, st.none() | IDS, SOME),
    st.booleans(),
)
STEPS = st.builds(Step, st.sampled_from(Status), TIMES, st.lists(WORDS, max_size=2).map(tuple))
ARRIVALS = st.builds(
    Arrival, IDS, TIMES, st.binary(max_size=300), st.none() | IDS.filter(lambda id_: id_.int != 0)
)
ENTRIES = st.builds(
    Entry,
    st.builds(Actor, WORDS, SOME, SOME),
    action=WORDS,
    what=SOME,
    destination=SOME,
    reference=SOME,
    details=st.dictionaries(WORDS, WORDS, max_size=2),
    times=st.integers(1, 99),
    at=TIMES,
    id=IDS,
)
ERASURES = st.builds(
    Erasure,
    id=IDS,
    requested_at=TIMES,
    who=WORDS,
    app=SOME,
    digest=st.none() | st.binary(min_size=1, max_size=32),
    number=st.none(),
    counts=st.dictionaries(WORDS, st.integers(0, 9), max_size=2),
    erased_at=st.none() | TIMES,
    completed_at=st.none() | TIMES,
)
NAMES = st.lists(WORDS, max_size=3).map(tuple)
FACTS: st.SearchStrategy[Fact] = st.one_of(
    st.builds(Recorded, st.lists(MESSAGES, max_size=3).map(tuple), st.none() | CLAIMS),
    st.builds(OnWire, MESSAGES),
    st.builds(Accepted, IDS, WORDS, TIMES),
    st.builds(
        Ended,
        IDS,
        st.none() | IDS,
        st.integers(0, 9),
        STEPS,
        st.booleans(),
        st.lists(st.builds(FieldError, WORDS, WORDS), max_size=2).map(tuple),
        st.none() | TIMES,
        st.booleans(),
        st.none() | MESSAGES,
        st.none() | CLAIMS,
    ),
    st.builds(Arrived, st.lists(ARRIVALS, max_size=3).map(tuple)),
    st.builds(Mark, IDS, st.tuples(st.integers(1, 99), st.integers(0, 2**40)), IDS, NAMES),
    st.builds(Met, NAMES),
    st.builds(Held, TIMES, WORDS, SOME),
    st.builds(Settled, IDS, TIMES, TIMES, WORDS),
    st.builds(Audited, ENTRIES),
    st.builds(
        Erased,
        st.lists(st.tuples(IDS, SOME), max_size=2).map(tuple),
        st.lists(ERASURES, max_size=2).map(tuple),
    ),
    st.builds(Gap),
)


def read(data: bytes) -> Raw:
    raw = unframe(data, 0)
    assert raw is not None
    return raw


@given(FACTS)
def test_a_fact_is_read_as_it_was_written(fact: Fact) -> None:
    record = encode(fact)
    raw = read(record)
    assert raw.end == len(record)
    assert decode(raw) == fact


@given(FACTS, st.data())
def test_one_wrong_bit_is_noticed(fact: Fact, data: st.DataObject) -> None:
    record = bytearray(encode(fact))
    record[data.draw(st.integers(0, len(record) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Damaged):
        unframe(bytes(record), 0)


@given(FACTS, st.data())
def test_a_record_that_is_cut_off_is_none(fact: Fact, data: st.DataObject) -> None:
    record = encode(fact)
    assert unframe(record[: data.draw(st.integers(0, len(record) - 1))], 0) is None


@given(FACTS)
def test_damage_of_the_content_leaves_the_next_record_findable(fact: Fact) -> None:
    record = bytearray(encode(fact) + encode(Gap()))
    end = len(encode(fact))
    record[end - 1] ^= 1
    with pytest.raises(Damaged) as damage:
        unframe(bytes(record), 0)
    assert damage.value.end == (end if len(encode(fact)) > HEADER_SIZE else None)


@given(st.lists(ARRIVALS, max_size=3))
def test_a_batch_of_receipts_is_encoded_like_any_fact(arrivals: list[Arrival]) -> None:
    assert encode_arrivals(arrivals) == encode(Arrived(tuple(arrivals)))


def test_a_kind_of_a_later_release_is_passed_over() -> None:
    assert decode(read(frame(200, b"whatever"))) is None


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12])
def test_content_that_is_none_of_its_kind_is_damage(kind: int) -> None:
    with pytest.raises(Damaged):
        decode(read(frame(kind, b"[]x")))


def test_a_message_takes_some_hundred_bytes() -> None:
    now = datetime.now(UTC)
    message = Message(
        UUID(int=1),
        "billing",
        Request("447923221231", "447700900100", "x" * 100, reference="order-42"),
        now,
        Status.SENDING,
        lease=UUID(int=2),
        lease_until=now + timedelta(seconds=60),
    )
    assert len(encode(Recorded((message,)))) < 600
    assert len(encode(Accepted(UUID(int=1), "d454cfe0-a835-11e6-9852-d43d7ed6ce4c", now))) < 150
