"""What stands in the journals of this release: the next one reads it, and so does this one.

Each kind of fact with everything that it can hold, byte for byte, and with only what it must hold.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from app.errors import FieldError
from app.model.audit import Actor, Entry
from app.model.erased_keys import erased_name
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
from app.record.encoding import decode, encode
from app.record.framing import Damaged, Raw, unframe

A, B, C, D = (UUID(f"{digit * 8}-0000-7000-8000-000000000000") for digit in "abcd")
A_HEX, B_HEX, C_HEX, D_HEX = (one.hex for one in (A, B, C, D))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


MESSAGE = Message(
    id=A,
    app="billing",
    request=Request("44792", "44770", "a text", 3, "c2c-1", "order-42", at(1)),
    created_at=at(2),
    state=Status.SENDING,
    attempts=4,
    leases=5,
    announced=True,
    lease=B,
    lease_until=at(6),
    next_attempt_at=at(7),
    give_up_at=at(8),
    resend_of=C,
)
MESSAGE_JSON = {
    "id": A_HEX, "app": "billing", "from": "44792", "to": "44770", "text": "a text", "expiry": 3,
    "c2c": "c2c-1", "ref": "order-42", "send_at": 1, "made": 2, "state": "SENDING", "attempts": 4,
    "leases": 5, "announced": True, "lease": B_HEX, "until": 6, "next": 7, "give_up": 8,
    "again": C_HEX,
}  # fmt: skip
LEAST = Message(A, "billing", Request("44792", "44770", "a text"), at(2), Status.QUEUED)
LEAST_JSON = {
    "id": A_HEX, "app": "billing", "from": "44792", "to": "44770", "text": "a text", "made": 2,
    "state": "QUEUED", "attempts": 0, "leases": 0,
}  # fmt: skip
KEY = ClaimedKey("billing", "key-1", b"\x01\xff", at(9), D, '{"id": 1}')
KEY_JSON = {
    "app": "billing", "key": "key-1", "print": "01ff", "at": 9, "message": D_HEX,
    "answer": '{"id": 1}',
}  # fmt: skip
FREED = ClaimedKey("billing", "key-2", b"\x02", at(10))
FREED_JSON = {
    "app": "billing", "key": "key-2", "print": "02", "at": 10, "message": None, "answer": None,
}  # fmt: skip
ENTRY = Entry(
    Actor("key:k1", "billing", "192.0.2.1"),
    "look",
    A_HEX,
    "44770",
    "order-42",
    {"why": "asked"},
    times=3,
    at=at(11),
    id=B,
)
ENTRY_JSON = {
    "id": B_HEX, "at": 11, "who": "key:k1", "app": "billing", "address": "192.0.2.1",
    "action": "look", "what": A_HEX, "to": "44770", "ref": "order-42", "details": {"why": "asked"},
    "times": 3,
}  # fmt: skip
ERASURE = Erasure(A, at(12), "ops", "billing", b"\x03", None, {"messages": 1}, at(13), at(14))
ERASURE_JSON = {
    "id": A_HEX, "asked": 12, "who": "ops", "app": "billing", "digest": "03",
    "counts": {"messages": 1}, "erased": 13, "completed": 14,
}  # fmt: skip
UNDER_WAY = Erasure(B, at(12), "ops", None, None, None, {})
UNDER_WAY_JSON = {
    "id": B_HEX, "asked": 12, "who": "ops", "app": None, "digest": None, "counts": {},
    "erased": None, "completed": None,
}  # fmt: skip
ENDED = Ended(
    A,
    B,
    5,
    Step(Status.QUEUED, at(15), ("busy", "later")),
    announce=True,
    errors=(FieldError("destination", "is barred"),),
    next_attempt_at=at(16),
    attempted=False,
    message=MESSAGE,
    frees=KEY,
)
ENDED_JSON = {
    "id": A_HEX, "lease": B_HEX, "leases": 5, "status": "QUEUED", "at": 15,
    "reasons": ["busy", "later"], "told": True, "errors": [["destination", "is barred"]],
    "next": 16, "unattempted": True, "message": MESSAGE_JSON, "frees": KEY_JSON,
}  # fmt: skip

WRITTEN: list[tuple[int, Fact, Any]] = [
    (2, Recorded((MESSAGE, LEAST), KEY), {"messages": [MESSAGE_JSON, LEAST_JSON], "key": KEY_JSON}),
    (2, Recorded((), FREED), {"key": FREED_JSON}),
    (2, Recorded((), replace(FREED, key=erased_name(FREED.fingerprint))),
     {"key": FREED_JSON | {"key": ""}}),
    (3, OnWire(MESSAGE), MESSAGE_JSON),
    (4, Accepted(A, "an-id", at(17)), {"id": A_HEX, "sid": "an-id", "at": 17}),
    (5, ENDED, ENDED_JSON),
    (6, Mark(A, (7, 8), B, ("x", "y")),
     {"nonce": A_HEX, "start": [7, 8], "incarnation": B_HEX, "others": ["x", "y"]}),
    (7, Held(at(18), "ops", "restored"), {"at": 18, "by": "ops", "reason": "restored"}),
    (9, Met(("x", "y")), {"others": ["x", "y"]}),
    (10, Settled(A, at(19), at(20), "ops"), {"id": A_HEX, "before": 19, "at": 20, "by": "ops"}),
    (11, Audited(ENTRY), ENTRY_JSON),
    (12, Erased(((A, "an-id"), (B, None)), (ERASURE, UNDER_WAY)),
     {"ids": [[A_HEX, "an-id"], [B_HEX, None]], "erasures": [ERASURE_JSON, UNDER_WAY_JSON]}),
]  # fmt: skip
READ: list[tuple[int, Fact, Any]] = [
    (2, Recorded(()), {}),
    (3, OnWire(LEAST), {name: LEAST_JSON[name] for name in LEAST_JSON if name not in
                        {"attempts", "leases"}}),
    (5, Ended(A, None, 0, Step(Status.EXPIRED, at(15)), announce=False),
     {"id": A_HEX, "status": "EXPIRED", "at": 15}),
    (6, Mark(A, (7, 8), B), {"nonce": A_HEX, "start": [7, 8], "incarnation": B_HEX}),
    (7, Held(at(18), "ops", None), {"at": 18, "by": "ops"}),
    (9, Met(()), {}),
    (11, Audited(Entry(Actor("ops"), "purge", at=at(11), id=B)),
     {"id": B_HEX, "at": 11, "who": "ops", "action": "purge"}),
    (12, Erased(()), {}),
]  # fmt: skip


def record_of(fact: Fact) -> Raw:
    raw = unframe(encode(fact), 0)
    assert raw is not None
    return raw


@pytest.mark.parametrize(("kind", "fact", "content"), WRITTEN)
def test_a_fact_with_everything(kind: int, fact: Fact, content: Any) -> None:
    written = json.dumps(content, separators=(",", ":")).encode()
    assert record_of(fact) == Raw(len(encode(fact)), kind, written)
    assert decode(Raw(0, kind, written)) == fact


@pytest.mark.parametrize(("kind", "fact", "content"), READ)
def test_a_fact_with_nothing_that_may_be_missing(kind: int, fact: Fact, content: Any) -> None:
    assert decode(Raw(0, kind, json.dumps(content).encode())) == fact


def test_receipts_are_packed() -> None:
    arrived = Arrived((Arrival(A, at(1_500_000), b"one", None), Arrival(B, at(2), b"", C)))
    content = (
        A.bytes + bytes.fromhex("000000000000f83f") + bytes(16) + b"\x03\x00\x00\x00one"
        + B.bytes + bytes.fromhex("8dedb5a0f7c6c03e") + C.bytes + bytes(4)
    )  # fmt: skip
    assert record_of(arrived) == Raw(len(encode(arrived)), 1, content)
    assert decode(Raw(0, 1, content)) == arrived
    assert decode(Raw(0, 1, b"")) == Arrived(())
    with pytest.raises(Damaged, match=r"^its content cannot be read: ValueError$"):
        decode(Raw(0, 1, content[:46]))


def test_a_gap_is_empty() -> None:
    assert record_of(Gap()) == Raw(len(encode(Gap())), 8, b"")
    assert decode(Raw(0, 8, b"")) == Gap()
