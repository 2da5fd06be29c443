"""Parsing of arrivals: any bytes give a receipt or a rejection with its reason."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import FieldError
from app.model.receipt import Arrival, Receipt, ReceiptContent, Rejection, interpret
from app.model.status import microseconds
from tests.support.statuses import status_of

RECEIVED_AT = datetime(2020, 5, 6, 17, 37, 50, tzinfo=UTC)
ID = "d454cfe0-a835-11e6-9852-d43d7ed6ce4c"
SEED = {
    "sms_activity_id": ID,
    "delivery_status": "smsc submit",
    "status_reason": "8",
    "receipt_timestamp": "2020-05-06 18:37:37",
    "status": "ACKNOWLEDGED",
}


def arrival(body: bytes) -> Arrival:
    return Arrival(UUID(int=1), RECEIVED_AT, body)


def raw(**changes: object) -> bytes:
    """The seed example with some fields changed, or left out where they are ``...``."""
    fields = {**SEED, **changes}
    return json.dumps({k: v for k, v in fields.items() if v is not ...}).encode()


def receipt_of(body: bytes) -> Receipt:
    found = interpret(arrival(body))
    assert isinstance(found, Receipt), found
    return found


def content_of(body: bytes) -> ReceiptContent:
    return receipt_of(body).content


def rejected(body: bytes) -> Rejection:
    found = interpret(arrival(body))
    assert isinstance(found, Rejection), found
    return found


def test_the_seed_example() -> None:
    assert receipt_of(raw()).sms_activity_id == ID
    first = content_of(raw())
    assert (first.status, first.time_quality) == ("ACKNOWLEDGED", "exact")
    assert (first.delivery_status, first.status_reason) == ("smsc submit", "8")
    assert first.receipt_timestamp == "2020-05-06 18:37:37"
    assert first.at == datetime(2020, 5, 6, 17, 37, 37, tzinfo=UTC)
    second = content_of(raw(receipt_timestamp="2020-05-06 18:37:46", status="DELIVERED"))
    assert second.at == datetime(2020, 5, 6, 17, 37, 46, tzinfo=UTC)
    assert second.key > first.key


# label, body, what the fields of the receipt are
ACCEPTED: list[tuple[str, bytes, dict[str, Any]]] = [
    ("numbers for texts", raw(status_reason=8), {"status_reason": "8"}),
    ("a number for an id", raw(sms_activity_id=12345), {"sms_activity_id": "12345"}),
    (
        "30 digits of an id",
        raw().replace(b'"' + ID.encode() + b'"', b"123456789012345678901234567890"),
        {"sms_activity_id": "123456789012345678901234567890"},
    ),
    (
        "a fraction keeps its digits",
        raw().replace(b'"8"', b"8.10"),
        {"status_reason": "8.10"},
    ),
    ("5,000 digits", raw().replace(b'"8"', b"9" * 5000), {"status_reason": "9" * 5000}),
    ("leading zeros and case kept", raw(sms_activity_id="00aB"), {"sms_activity_id": "00aB"}),
    ("spaces around an id dropped", raw(sms_activity_id=" a b\n"), {"sms_activity_id": "a b"}),
    ("a UUID in upper case", raw(sms_activity_id=ID.upper()), {"sms_activity_id": ID}),
    ("a UUID in braces", raw(sms_activity_id=f" {{{ID}}} "), {"sms_activity_id": ID}),
    ("255 x, padded", raw(sms_activity_id=f" {'x' * 255} "), {"sms_activity_id": "x" * 255}),
    ("255 characters", raw(sms_activity_id="x" * 255), {"sms_activity_id": "x" * 255}),
    ("255 emoji", raw(sms_activity_id="😀" * 255), {"sms_activity_id": "😀" * 255}),
    (
        "only what must be there",
        raw(delivery_status=..., status_reason=..., receipt_timestamp=...),
        {
            "delivery_status": None,
            "status_reason": None,
            "receipt_timestamp": None,
            "at": RECEIVED_AT,
            "time_quality": "received",
        },
    ),
    ("nulls", raw(delivery_status=None, status_reason=None), {"delivery_status": None}),
    ("an empty text", raw(delivery_status=""), {"delivery_status": ""}),
    ("extra fields", raw(price=1.5, network={"mcc": 234}), {"status": "ACKNOWLEDGED"}),
    ("small letters", raw(status="delivered"), {"status": "DELIVERED", "flag": 1}),
    ("white space", raw(status="\t Delivered \r\n"), {"status": "DELIVERED", "flag": 1}),
    ("unknown status", raw(status="Sent On"), {"status": "Sent On", "key": 0, "flag": 0}),
    ("a status of ours", raw(status="SUBMITTED"), {"status": "SUBMITTED", "key": 0}),
    ("UNKNOWN itself", raw(status="UNKNOWN"), {"status": "UNKNOWN", "key": 0}),
    ("a number for a status", raw(status=16), {"status": "16", "key": 0}),
    ("true for a status", raw(status=True), {"status": "true", "key": 0}),
    ("a list for a text", raw(delivery_status=["a", {"b": "é"}]),
     {"delivery_status": '["a",{"b":"é"}]'}),
    (
        "a line break as it is",
        raw(delivery_status="@").replace(b"@", b"a\nb"),
        {"delivery_status": "a\nb"},
    ),
    ("spaces of any kind", raw(status="\u00a0delivered"), {"status": "DELIVERED", "flag": 1}),
    ("a dotless i is no I", raw(status="FA\u0131LED"), {"status": "FA\u0131LED", "key": 0}),
    ("NUL", raw(delivery_status="a\x00b"), {"delivery_status": "a\ufffdb"}),
    ("NUL in a status", raw(status="a\x00b"), {"status": "a\ufffdb", "key": 0}),
    ("a lone surrogate", raw(delivery_status="a\ud800b"), {"delivery_status": "a\ufffdb"}),
    ("an escaped pair", raw(delivery_status="😀"), {"delivery_status": "😀"}),
    (
        "a byte that is not UTF-8",
        raw(delivery_status="@").replace(b"@", b"caf\xe9"),
        {"delivery_status": "caf\ufffd"},
    ),
    (
        "such a byte in a status",
        raw(status="@").replace(b"@", b"\xff"),
        {"status": "\ufffd", "key": 0},
    ),
    ("BOM", b"\xef\xbb\xbf" + raw(), {"sms_activity_id": ID}),
    ("UTF-16 with BOM", raw().decode().encode("utf-16"), {"sms_activity_id": ID}),
    ("UTF-16 LE", raw().decode().encode("utf-16-le"), {"sms_activity_id": ID}),
    ("UTF-16 BE", raw().decode().encode("utf-16-be"), {"sms_activity_id": ID}),
    ("UTF-32", raw().decode().encode("utf-32"), {"sms_activity_id": ID}),
    ("white space around", b" \r\n" + raw() + b"\n\n", {"sms_activity_id": ID}),
    (
        "a key twice: the last counts",
        raw().replace(b'"status": ', b'"status": "FAILED", "status": '),
        {"status": "ACKNOWLEDGED"},
    ),
    (
        "nested, but not deeply",
        raw(extra="@").replace(b'"@"', b"[" * 100 + b"]" * 100),
        {"status": "ACKNOWLEDGED"},
    ),
    (
        "a time that cannot be read",
        raw(receipt_timestamp="2020-02-30 00:00:00"),
        {
            "receipt_timestamp": "2020-02-30 00:00:00",
            "at": RECEIVED_AT,
            "time_quality": "received",
        },
    ),
    ("a number for a time", raw(receipt_timestamp=1588786657), {"time_quality": "received"}),
    ("an offset", raw(receipt_timestamp="2020-05-06T18:37:37+0100"), {"time_quality": "offset"}),
    ("the missing hour", raw(receipt_timestamp="2020-03-29 01:30:00"), {"time_quality": "missing"}),
    (
        "2099",
        raw(receipt_timestamp="2099-01-01 00:00:00"),
        {"time_quality": "ahead", "at": RECEIVED_AT, "receipt_timestamp": "2099-01-01 00:00:00"},
    ),
    (
        "the repeated hour",
        raw(receipt_timestamp="2019-10-27 01:30:00"),
        {"time_quality": "repeated", "at": datetime(2019, 10, 27, 1, 30, tzinfo=UTC)},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "expected"), [pytest.param(*row[1:], id=row[0]) for row in ACCEPTED]
)
def test_accepted(body: bytes, expected: dict[str, Any]) -> None:
    receipt = receipt_of(body)
    found = {"sms_activity_id": receipt.sms_activity_id, **receipt.content._asdict()}
    assert {name: found[name] for name in expected} == expected
    assert receipt.arrival.body == body


def test_what_is_remembered_of_a_text_does_not_depend_on_when_it_came_first() -> None:
    """The same text was ahead of one arrival and is not ahead of the next, in any order."""
    stamp = datetime(2020, 5, 6, 17, 37, 37, tzinfo=UTC)
    early, late = stamp - timedelta(hours=1), stamp + timedelta(seconds=9)
    expected = {early: (early, "ahead"), late: (stamp, "exact")}
    for received_at in (early, late, early, late):
        receipt = interpret(Arrival(UUID(int=1), received_at, raw(status_reason="a memory")))
        assert isinstance(receipt, Receipt)
        assert (receipt.content.at, receipt.content.time_quality) == expected[received_at]
        assert receipt.content.at_microseconds == microseconds(receipt.content.at)


def deep(field: str, depth: int) -> bytes:
    return raw(**{field: "@"}).replace(b'"@"', b"[" * depth + b"]" * depth)


MISSING_ID = FieldError("sms_activity_id", "is missing")
ODD_ID = FieldError("sms_activity_id", "must be text or a number")
UNTEXT_ID = FieldError("sms_activity_id", "has characters that no text can hold")
MISSING_STATUS = FieldError("status", "is missing")
# label, body, HTTP status, the fields at fault
REJECTED: list[tuple[str, bytes, int, tuple[FieldError, ...]]] = [
    ("nothing", b"", 400, ()),
    ("not JSON", b"status=DELIVERED", 400, ()),
    ("half of it", raw()[:-10], 400, ()),
    ("two of them", raw() + raw(), 400, ()),
    ("NaN", raw(status_reason="@").replace(b'"@"', b"NaN"), 400, ()),
    ("-Infinity", raw(status_reason="@").replace(b'"@"', b"-Infinity"), 400, ()),
    ("NUL bytes", b"\x00\x00\x00", 400, ()),
    ("a picture", b"\x89PNG\r\n\x1a\n\xff\xfe", 400, ()),
    ("half a UTF-16 character", raw().decode().encode("utf-16") + b"\xff", 400, ()),
    ("single quotes", b"{'status': 'DELIVERED'}", 400, ()),
    ("nested too deeply to read", deep("extra", 50_000), 400, ()),
    ("an array", b"[" + raw() + b"]", 422, (FieldError("body", "must be a JSON object"),)),
    ("null", b"null", 422, (FieldError("body", "must be a JSON object"),)),
    ("a text", b'"DELIVERED"', 422, (FieldError("body", "must be a JSON object"),)),
    ("a number", b"12", 422, (FieldError("body", "must be a JSON object"),)),
    ("an empty object", b"{}", 422, (MISSING_ID, MISSING_STATUS)),
    ("no id", raw(sms_activity_id=...), 422, (MISSING_ID,)),
    ("id null", raw(sms_activity_id=None), 422, (MISSING_ID,)),
    ("id empty", raw(sms_activity_id=""), 422, (MISSING_ID,)),
    ("id blank", raw(sms_activity_id=" \t"), 422, (MISSING_ID,)),
    ("id true", raw(sms_activity_id=True), 422, (ODD_ID,)),
    ("id a list", raw(sms_activity_id=[ID]), 422, (ODD_ID,)),
    ("id an object", raw(sms_activity_id={"id": ID}), 422, (ODD_ID,)),
    (
        "id of 256",
        raw(sms_activity_id="x" * 256),
        422,
        (FieldError("sms_activity_id", "is longer than 255 characters"),),
    ),
    ("id with NUL", raw(sms_activity_id="a\x00b"), 422, (UNTEXT_ID,)),
    ("id with half a pair", raw(sms_activity_id="a\ud800"), 422, (UNTEXT_ID,)),
    ("id not UTF-8", raw(sms_activity_id="@").replace(b"@", b"\xff"), 422, (UNTEXT_ID,)),
    ("no status", raw(status=...), 422, (MISSING_STATUS,)),
    ("status null", raw(status=None), 422, (MISSING_STATUS,)),
    ("status blank", raw(status="  "), 422, (MISSING_STATUS,)),
    ("names in capitals", raw(status=..., STATUS="DELIVERED"), 422, (MISSING_STATUS,)),
]


@pytest.mark.parametrize(
    ("body", "http_status", "errors"), [pytest.param(*row[1:], id=row[0]) for row in REJECTED]
)
def test_rejected(body: bytes, http_status: int, errors: tuple[FieldError, ...]) -> None:
    rejection = rejected(body)
    assert (rejection.http_status, rejection.errors) == (http_status, errors)
    assert rejection.arrival.body == body
    assert 0 < len(rejection.reason) <= 500
    for fault in errors:
        assert fault.field in rejection.reason or fault.field == "body"


@pytest.mark.parametrize("field", ["extra", "sms_activity_id", "status", "delivery_status"])
def test_no_depth_of_nesting_raises(field: str) -> None:
    # The deepest that can be read is not always one that can be written again.
    for depth in (*range(800, 1050), 10_000, 100_000):
        found = interpret(arrival(deep(field, depth)))
        assert isinstance(found, (Receipt, Rejection))
    too_deep = arrival(deep(field, 100_000))
    assert interpret(too_deep) == Rejection(
        too_deep, 400, "The body is not JSON that can be read: it is nested too deeply"
    )


SAME = [
    ("8 and '8'", raw(status_reason=8), raw(status_reason="8")),
    ("the order of fields", raw(), json.dumps(dict(reversed(SEED.items()))).encode()),
    ("white space between", raw(), json.dumps(SEED, indent=2).encode()),
    ("other fields", raw(), raw(price=12)),
    ("null and absent", raw(delivery_status=None), raw(delivery_status=...)),
    ("escapes", raw(delivery_status="é"), raw(delivery_status="@").replace(b"@", "é".encode())),
    ("encodings", raw(), raw().decode().encode("utf-16")),
]


@pytest.mark.parametrize(("one", "other"), [pytest.param(*row[1:], id=row[0]) for row in SAME])
def test_the_same_receipt(one: bytes, other: bytes) -> None:
    assert content_of(one).digest == content_of(other).digest


DIFFERENT = [
    ("null and an empty text", raw(delivery_status=None), raw(delivery_status="")),
    ("null and 'null'", raw(delivery_status=None), raw(delivery_status="null")),
    ("a text in another field", raw(delivery_status="8", status_reason=None),
     raw(delivery_status=None, status_reason="8")),
    ("a shifted border", raw(delivery_status="ab", status_reason="c"),
     raw(delivery_status="a", status_reason="bc")),
    ("a length in the text", raw(delivery_status="1:x-", status_reason=None),
     raw(delivery_status="1:x", status_reason="")),
    ("a second later", raw(), raw(receipt_timestamp="2020-05-06 18:37:38")),
    ("another status", raw(), raw(status="DELIVERED")),
    ("8 and 8.0", raw(status_reason="8"), raw(status_reason="8.0")),
    ("two unprintable texts", raw(delivery_status="\x00"), raw(delivery_status="\ufffd")),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), [pytest.param(*row[1:], id=row[0]) for row in DIFFERENT])
def test_different_receipts(one: bytes, other: bytes) -> None:
    assert content_of(one).digest != content_of(other).digest


@given(st.binary(max_size=300))
@example(raw())
def test_no_bytes_raise(body: bytes) -> None:
    assert interpret(arrival(body)).arrival.body == body


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(SEED)) | st.text(), json_values, max_size=7))
def test_no_json_raises_and_what_is_shown_fits_a_column(fields: dict[str, Any]) -> None:
    found = interpret(arrival(json.dumps(fields).encode()))
    if isinstance(found, Receipt):
        for text in (found.sms_activity_id, *found.content[:4]):
            assert text is None or "\x00" not in text
            assert text is None or text.encode().decode() == text


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ACKNOWLEDGED", "buffered", " FAILED", "EXPIRED", "Delivered", "odd"]),
            st.integers(0, 3),
        ),
        min_size=1,
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_the_greatest_key_is_the_status_in_any_order(
    of: list[tuple[str, int]], chance: random.Random
) -> None:
    bodies = [raw(status=s, receipt_timestamp=f"2020-05-06 18:37:0{second}") for s, second in of]
    first = max((content_of(body) for body in bodies), key=lambda content: content.key)
    chance.shuffle(bodies)
    again = max((content_of(body) for body in bodies), key=lambda content: content.key)
    start = datetime(2020, 5, 6, 17, 37, tzinfo=UTC)
    expected = status_of([(s.strip().upper(), start + timedelta(seconds=n)) for s, n in of])
    for winner in (first, again):
        assert (winner.status if winner.key else None) == expected


def test_a_reason_quotes_nothing_of_the_body() -> None:
    rejection = rejected(b'{"status": "s3cret-text", "sms_activity_id"')
    assert "s3cret-text" not in rejection.reason


def test_a_rejection_says_everything_that_is_at_fault() -> None:
    rejection = interpret(arrival(b"{}"))
    assert isinstance(rejection, Rejection)
    assert rejection.reason == (
        "The receipt is not valid: sms_activity_id is missing; status is missing"
    )
    listed = interpret(arrival(b"[]"))
    assert isinstance(listed, Rejection)
    assert (listed.http_status, listed.reason) == (422, "The body is JSON, but not an object")


@pytest.mark.parametrize("missing", ["sms_activity_id", "status"])
def test_either_field_alone_is_missed(missing: str) -> None:
    rejection = interpret(arrival(raw(**{missing: ...})))
    assert isinstance(rejection, Rejection)
    assert rejection.errors == (FieldError(missing, "is missing"),)


def test_a_receipt_is_told_apart_by_16_bytes() -> None:
    assert len(receipt_of(raw()).content.digest) == 16


def test_the_reason_of_a_rejection_is_bounded() -> None:
    rejection = interpret(arrival(b"x" * 10_000))
    assert isinstance(rejection, Rejection)
    assert len(rejection.reason) <= 500
