"""The words of the search box, as people type them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.console.query import MAX_LENGTH, Query, read
from app.model.search import MESSAGE_STATUSES, Search
from app.model.status import Status

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
FAILED = frozenset({Status.FAILED, Status.EXPIRED})


def query(text: str, region: str | None = None) -> Query:
    return read(text, app="billing", region=region, now=NOW)


CASES: list[tuple[str, dict[str, Any]]] = [
    ("", {}),
    ("+44 7700 900123", {"destination": "447700900123"}),
    ("0044 7700 900123", {"destination": "447700900123"}),
    ("447700900123", {"destination": "447700900123"}),
    ("07700 900123", {"destination_ends": "7700900123"}),
    ("(07700) 900-123", {"destination_ends": "7700900123"}),
    ("0123", {"destination_ends": "0123"}),
    ("42", {"reference_starts": "42"}),
    ("order-42", {"reference_starts": "order-42"}),
    ('ref:"order 42"', {"reference_starts": "order 42"}),
    ("to:0123", {"destination_ends": "0123"}),
    ("-to:0123", {"not_destination_ends": "0123"}),
    ("to:07700 900123 from:INFO", {"destination_ends": "7700900123", "origin": "INFO"}),
    ("-from:INFO", {"not_origin": "INFO"}),
    ("STATUS:Failed", {"statuses": FAILED}),
    ("status:refused,expired", {"statuses": frozenset({Status.REJECTED, Status.EXPIRED})}),
    ('"', {"reference_starts": '"'}),
    ("status:failed,delivered", {"statuses": FAILED | {Status.DELIVERED}}),
    ("-status:failed", {"statuses": MESSAGE_STATUSES - FAILED}),
    ("status:overdue", {"overdue": True}),
    ("-status:contradictory", {"contradictory": False}),
    ("after:yesterday", {"created_from": datetime(2026, 11, 27, tzinfo=UTC)}),
    ("before:2026-07-01", {"created_to": datetime(2026, 6, 30, 23, tzinfo=UTC)}),
    ("after:2h", {"created_from": datetime(2026, 11, 28, 10, tzinfo=UTC)}),
    ("-order-4", {"not_reference_starts": "order-4"}),
    ("０７７００ ９００１２３", {"destination_ends": "7700900123"}),
    ("\u202a+44 7700\u00a0900123\u202c", {"destination": "447700900123"}),
    ("+44 (0)7700 900 123", {"destination": "447700900123"}),
    ("0012", {"destination_ends": "0012"}),
    ("to:07700 900-123 -0199", {"destination_ends": "7700900123", "not_destination_ends": "0199"}),
    ("order-7 to:0123", {"destination_ends": "0123", "reference_starts": "order-7"}),
    ("0123 ref:order-", {"destination_ends": "0123", "reference_starts": "order-"}),
    ("before:0001-01-01", {"created_to": datetime(1, 1, 1, 0, 1, 15, tzinfo=UTC)}),
]


@pytest.mark.parametrize(("text", "filters"), CASES, ids=[case[0] or "nothing" for case in CASES])
def test_what_is_read(text: str, filters: dict[str, Any]) -> None:
    found = query(text)
    assert found.faults == ()
    assert found.search == Search(app="billing", **filters)


def test_with_a_region_a_national_number_is_whole() -> None:
    assert query("07700 900123", "GB").search.destination == "447700900123"


def test_digits_may_be_a_reference() -> None:
    assert query("10042").otherwise == Search(app="billing", reference_starts="10042")


@pytest.mark.parametrize(
    ("text", "says"),
    [("status:odd", "not known"), ("to:abc", "no phone number"), ("to:12", "too short"),
     ("before:soon", "no time"), ("to:", "Nothing stands behind"), ("ref:a ref:b", "twice"),
     ("x to:0123 y 0199 z to:0188", "twice"), ("0199 ref:a to:0123", "second number"),
     ("order-7 ref:order-", "two references"),
     ("-before:today", "no meaning"), ("x" * (MAX_LENGTH + 1), "at most"), ("a\x00", "no text")],
)  # fmt: skip
def test_what_cannot_be_read(text: str, says: str) -> None:
    assert any(says in fault for fault in query(text).faults)


@given(st.text(max_size=60))
def test_nothing_breaks_it(text: str) -> None:
    found = query(text)
    assert found.search.app == "billing"
    assert found.text == text.strip()
