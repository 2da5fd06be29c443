"""Validation of the request bodies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.errors import Invalid
from app.model.message import Request
from app.send.requests import read_message

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HORIZON = timedelta(days=30)
GOOD: dict[str, Any] = {
    "origin": "447923221231",
    "destination": "447723443321",
    "message": "Hello there, my name is John",
}


def read(**changed: Any) -> Request:
    return read_message(GOOD | changed, now=NOW, horizon=HORIZON)


def faults_of(fields: object) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        read_message(fields, now=NOW, horizon=HORIZON)
    return {fault.field: fault.message for fault in caught.value.errors}


def test_a_destination_is_sent_as_its_digits() -> None:
    assert read(destination="+44 (0)7700 900123").destination == "447700900123"


@pytest.mark.parametrize(
    "written",
    [
        "07700900123",
        "+",
        "00",
        "+44",
        "abc",
        "+44 7700 900123 ext 4",
        "+٤٤7700900123",
        "+4477009001234567890",
        "+00447700900123",
        "44770090012X",
        "+44 7700 900123;+44 1",
        "60777",
    ],
)
def test_invalid_destinations(written: str) -> None:
    fault = faults_of(GOOD | {"destination": written})["destination"]
    assert fault.startswith(f"Destination Invalid: {written} (write it in international form")


ORIGINS = [
    ("iovox's own example", "447923221231", "447923221231"),
    ("plus", "+447923221231", "447923221231"),
    ("double zero", "00447923221231", "447923221231"),
    ("fifteen digits", "4" * 15, "4" * 15),
    ("a name", "ACME Ltd.", "ACME Ltd."),
    ("eleven characters", "Eleven char", "Eleven char"),
    ("digits and a letter", "4479a", "4479a"),
]


@pytest.mark.parametrize(("written", "sent"), [c[1:] for c in ORIGINS], ids=[c[0] for c in ORIGINS])
def test_origins(written: str, sent: str) -> None:
    assert read(origin=written).origin == sent


@pytest.mark.parametrize(
    "written", ["Twelve chars", "Müller", "A&B", "+44 79", "4" * 16, "00", "+", "a\tb", "a\nb"]
)
def test_invalid_origins(written: str) -> None:
    assert faults_of(GOOD | {"origin": written})["origin"].startswith(
        f"Origin Invalid: {written} ("
    )


def test_a_fault_quotes_a_hundred_characters() -> None:
    faults = faults_of(GOOD | {"destination": "4" * 60_000, "origin": "x" * 60_000})
    assert all(len(said) < 250 for said in faults.values())


TEXTS = [
    "& < > \" '",
    "😀 \U0010ffff",
    "a\nb\r\nc\rd",
    "  outer spaces  ",
    "\t",
    "x" * 160,
    "😀" * 160,
]


@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_not_changed(text: str) -> None:
    assert read(message=text).text == text


def test_null_is_the_same_as_left_out() -> None:
    request = read(expiry=None, reference=None, c2c_failover_link_id=None, send_at=None)
    assert request == read()
    assert (request.expiry, request.reference, request.send_at) == (None, None, None)


TIMES = [
    ("Z", "2026-11-22T09:00:00Z", datetime(2026, 11, 22, 9, tzinfo=UTC)),
    ("an offset", "2026-11-22T09:00:00+01:00", datetime(2026, 11, 22, 8, tzinfo=UTC)),
    ("small letters", "2026-11-22t09:00:00z", datetime(2026, 11, 22, 9, tzinfo=UTC)),
    ("a space", "2026-11-22 09:00:00Z", datetime(2026, 11, 22, 9, tzinfo=UTC)),
    ("a fraction", "2026-11-22T09:00:00.25Z", datetime(2026, 11, 22, 9, 0, 0, 250000, UTC)),
    ("nanoseconds", "2026-11-22T09:00:00.123456789Z", datetime(2026, 11, 22, 9, 0, 0, 123456, UTC)),
    ("the horizon itself", "2026-12-21T12:00:00Z", datetime(2026, 12, 21, 12, tzinfo=UTC)),
]


@pytest.mark.parametrize(("text", "moment"), [c[1:] for c in TIMES], ids=[c[0] for c in TIMES])
def test_schedules(text: str, moment: datetime) -> None:
    assert read(send_at=text).send_at == moment


RFC = "must be an RFC 3339 time, such as 2026-11-22T09:00:00Z"
OFFSET = "must carry its offset, such as Z or +01:00"
CANNOT = "has characters that cannot be sent: "
FAULTS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("origin empty", {"origin": ""}, {"origin": "Origin Empty"}),
    ("origin blank", {"origin": "  "}, {"origin": "Origin Empty"}),
    ("destination empty", {"destination": ""}, {"destination": "Destination Empty"}),
    ("message empty", {"message": ""}, {"message": "Message Empty"}),
    (
        "message too long",
        {"message": "x" * 161},
        {"message": "Message must be less than 160 characters long (this one has 161)"},
    ),
    (
        "NUL and a bell",
        {"message": "a\x00b\x07c\x00"},
        {"message": CANNOT + "U+0000, U+0007"},
    ),
    ("a noncharacter", {"message": "\ufffe"}, {"message": CANNOT + "U+FFFE"}),
    ("half a surrogate", {"message": "\ud800"}, {"message": CANNOT + "U+D800"}),
    ("origin a number", {"origin": 447923221231}, {"origin": "must be text"}),
    ("message a list", {"message": ["a"]}, {"message": "must be text"}),
    ("message null", {"message": None}, {"message": "must be text"}),
    ("expiry zero", {"expiry": 0}, {"expiry": "must be at least 1"}),
    ("expiry negative", {"expiry": -3}, {"expiry": "must be at least 1"}),
    ("expiry a fraction", {"expiry": 1.5}, {"expiry": "must be a whole number"}),
    ("expiry a whole float", {"expiry": 3.0}, {"expiry": "must be a whole number"}),
    ("expiry text", {"expiry": "3"}, {"expiry": "must be a whole number"}),
    ("expiry true", {"expiry": True}, {"expiry": "must be a whole number"}),
    ("expiry beyond INT", {"expiry": 2**31}, {"expiry": "must be at most 2147483647"}),
    ("reference empty", {"reference": ""}, {"reference": "must not be empty"}),
    ("reference long", {"reference": "x" * 256}, {"reference": "must have at most 255 characters"}),
    ("reference with NUL", {"reference": "\x00"}, {"reference": CANNOT + "U+0000"}),
    ("link a number", {"c2c_failover_link_id": 123456}, {"c2c_failover_link_id": "must be text"}),
    ("a typo", {"expirey": 3}, {"expirey": "is not a field of this request"}),
    ("past", {"send_at": "2026-11-21T11:59:59Z"}, {"send_at": "lies in the past"}),
    ("now", {"send_at": "2026-11-21T12:00:00Z"}, {"send_at": "lies in the past"}),
    ("beyond", {"send_at": "2026-12-21T12:00:01Z"}, {"send_at": "lies more than 30 days ahead"}),
    ("far beyond", {"send_at": "9999-12-31T23:59:59-12:00"}, {"send_at": "is no time that exists"}),
    ("no offset", {"send_at": "2026-11-22T09:00:00"}, {"send_at": OFFSET}),
    ("a date", {"send_at": "2026-11-22"}, {"send_at": RFC}),
    ("a number", {"send_at": 1795338000}, {"send_at": RFC}),
    ("no such day", {"send_at": "2026-11-31T09:00:00Z"}, {"send_at": "is no time that exists"}),
    (
        "no such offset",
        {"send_at": "2026-11-22T09:00:00+25:00"},
        {"send_at": "is no time that exists"},
    ),
]


@pytest.mark.parametrize(("changed", "said"), [c[1:] for c in FAULTS], ids=[c[0] for c in FAULTS])
def test_every_fault_names_its_field(changed: dict[str, Any], said: dict[str, str]) -> None:
    assert faults_of(GOOD | changed) == said


def test_all_faults_are_named_at_once() -> None:
    wrong = {"destination": "abc", "message": "", "expiry": 0, "send_at": "soon", "expirey": 3}
    assert set(faults_of(wrong)) == {"origin", *wrong}


@pytest.mark.parametrize("fields", [None, [], "text", 3, True])
def test_bodies_that_are_not_objects(fields: object) -> None:
    assert faults_of(fields) == {"body": "must be an object"}
