"""A receipt on the wire: its bytes, its headers, its London time, and that it comes once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from app.simulator.behaviour import Behaviour
from app.simulator.london import london_text
from app.simulator.main import create_simulator
from app.simulator.requests import parse_header_pairs
from app.simulator.server import make_server

from .running import Caller, Receiver, id_of, running


def test_a_receipt_is_the_documented_json(caller: Caller) -> None:
    sms_activity_id = id_of(caller.send())
    caller.settle()
    first = caller.receiver.calls[0]
    assert (first.method, first.path) == ("POST", "/dlr")
    assert list(json.loads(first.body)) == [
        "sms_activity_id",
        "delivery_status",
        "status_reason",
        "receipt_timestamp",
        "status",
    ]
    assert first.fields["sms_activity_id"] == sms_activity_id


def test_it_has_no_content_type_unless_asked(caller: Caller) -> None:
    caller.send()
    caller.settle()
    assert "content-type" not in caller.receiver.calls[0].headers


def test_it_carries_the_headers_that_were_asked_for(caller: Caller) -> None:
    caller.send(
        callback_url_headers="Content-Type: application/json,X-Custom-Header: a:b c,X-Message-Id: 7"
    )
    caller.settle()
    for call in caller.receiver.calls:
        assert call.headers["content-type"] == "application/json"
        assert call.headers["x-custom-header"] == "a:b c"
        assert call.headers["x-message-id"] == "7"


NOTATIONS = [
    ("nothing", "", ()),
    ("one", "A: b", (("A", "b"),)),
    ("two", "A: b,C: d", (("A", "b"), ("C", "d"))),
    ("spaces around", " A : b , C:d ", (("A", "b"), ("C", "d"))),
    ("a colon in the value", "A: b:c", (("A", "b:c"),)),
    ("an empty value", "A:", (("A", ""),)),
    ("no colon", "A,B: c", (("B", "c"),)),
    ("the same name twice", "A: 1,A: 2", (("A", "1"), ("A", "2"))),
]


@pytest.mark.parametrize(
    ("notation", "pairs"), [c[1:] for c in NOTATIONS], ids=[c[0] for c in NOTATIONS]
)
def test_header_notation(notation: str, pairs: tuple[tuple[str, str], ...]) -> None:
    assert parse_header_pairs(notation) == pairs


@pytest.mark.parametrize("status", [500, 503, 401, 302])
def test_it_is_never_posted_again(caller: Caller, status: int) -> None:
    caller.receiver.answers = status
    caller.send()
    caller.settle()
    assert len(caller.receiver.calls) == 2
    assert caller.counts()["receipts"] == {
        "posted": 2,
        "accepted": 0,
        "refused": 2,
        "unanswered": 0,
    }


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/dlr",
        "nonsense",
        "ftp://127.0.0.1/",
        "http://[",
        "http://a:b/",
        "//",
        " ",
    ],
)
def test_a_callback_that_cannot_be_reached_harms_nobody(caller: Caller, url: str) -> None:
    assert caller.send(callback_url=url).status_code == 201
    caller.settle()
    assert caller.counts()["receipts"]["accepted"] == 0
    assert caller.send().status_code == 201


def test_no_receipts_when_switched_off(caller: Caller) -> None:
    caller.behave(receipts=False)
    caller.send()
    caller.settle()
    assert caller.receiver.calls == []


def test_receipts_keep_their_distance(caller: Caller) -> None:
    caller.behave(receipt_delay=0.1)
    began = time.monotonic()
    caller.send()
    caller.settle()
    assert time.monotonic() - began >= 0.2


MOMENTS = [
    ("winter", datetime(2026, 1, 5, 12, 0, 1, tzinfo=UTC), "2026-01-05 12:00:01"),
    ("summer", datetime(2020, 5, 6, 17, 37, 37, 999999, tzinfo=UTC), "2020-05-06 18:37:37"),
    ("over midnight", datetime(2026, 6, 30, 23, 30, tzinfo=UTC), "2026-07-01 00:30:00"),
    (
        "before the missing hour",
        datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC),
        "2026-03-29 00:59:59",
    ),
    ("after the missing hour", datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "2026-03-29 02:00:00"),
    ("first pass of the hour", datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "2026-10-25 01:30:00"),
    ("second pass of the hour", datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "2026-10-25 01:30:00"),
]


@pytest.mark.parametrize(("moment", "text"), [c[1:] for c in MOMENTS], ids=[c[0] for c in MOMENTS])
def test_london_time(moment: datetime, text: str) -> None:
    assert london_text(moment) == text


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        london_text(datetime(2026, 1, 1))  # noqa: DTZ001


def test_the_clock_can_be_set(receiver: Receiver) -> None:
    clock: Callable[[], datetime] = lambda: datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC)  # noqa: E731
    app = create_simulator(clock=clock, behaviour=Behaviour(receipt_delay=0))
    with running(make_server(app, port=0)) as url, httpx.Client(base_url=url) as client:
        caller = Caller(client, receiver)
        caller.send()
        caller.settle()
    dates = [call.fields["receipt_timestamp"] for call in receiver.calls]
    assert dates == ["2026-10-25 01:59:59", "2026-10-25 01:00:00"]
