"""What the last two digits of the destination choose, row by row."""

from __future__ import annotations

import time
import uuid
from datetime import datetime, timedelta
from itertools import pairwise

import httpx
import pytest

from .running import Caller, errors_of, id_of

ACK, BUF = "ACKNOWLEDGED 8 smsc submit", "BUFFERED 4 message buffered"
DONE, FAIL = "DELIVERED 1 delivery success", "FAILED 2 delivery failure"

RECEIPTS = [
    ("00 delivered", "00", [ACK, DONE]),
    ("01 failed", "01", [ACK, FAIL]),
    ("02 buffered, then delivered", "02", [ACK, BUF, DONE]),
    ("03 buffered, then failed", "03", [ACK, BUF, FAIL]),
    ("04 expired", "04", [ACK, "EXPIRED 2 delivery failure"]),
    ("05 no receipt at all", "05", []),
    ("06 every receipt three times", "06", [ACK, ACK, ACK, DONE, DONE, DONE]),
    ("07 reverse order", "07", [DONE, ACK]),
    ("08 receipts before the answer", "08", [ACK, DONE]),
    ("13 rejected by the SMSC", "13", ["FAILED 16 smsc reject"]),
    ("14 delivered, then a late FAILED", "14", [ACK, DONE, FAIL]),
    ("15 as 00", "15", [ACK, DONE]),
    ("99 as 00", "99", [ACK, DONE]),
]


@pytest.mark.parametrize(
    ("digits", "expected"), [c[1:] for c in RECEIPTS], ids=[c[0] for c in RECEIPTS]
)
def test_receipts_of(caller: Caller, digits: str, expected: list[str]) -> None:
    sms_activity_id = id_of(caller.send(destination=f"4477009000{digits}"))
    caller.settle()
    came = caller.receiver.of(sms_activity_id)
    shown = [f"{r['status']} {r['status_reason']} {r['delivery_status']}" for r in came]
    assert shown == expected
    assert uuid.UUID(sms_activity_id).version == 1


def test_08_the_receipts_are_answered_before_the_send_is(caller: Caller) -> None:
    sms_activity_id = id_of(caller.send(destination="447700900008"))
    assert len(caller.receiver.of(sms_activity_id)) == 2
    assert caller.counts()["receipts"]["accepted"] == 2


@pytest.mark.parametrize(
    "headers", ["X-Message-Id: m-1", None], ids=["by X-Message-Id", "by bytes"]
)
def test_09_fails_once_then_accepts(caller: Caller, headers: str | None) -> None:
    answers = [
        caller.send(destination="447700900009", callback_url_headers=headers) for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [500, 201, 201]
    assert errors_of(answers[0]) == ["Internal Server Error"]
    caller.settle()
    assert [r["status"] for r in caller.receiver.of(id_of(answers[1]))] == [
        "ACKNOWLEDGED",
        "DELIVERED",
    ]


def test_09_fails_once_for_each_message(caller: Caller) -> None:
    answers = [
        caller.send(destination="447700900009", callback_url_headers=f"X-Message-Id: {name}")
        for name in ("a", "b", "a", "b")
    ]
    assert [answer.status_code for answer in answers] == [500, 500, 201, 201]


def test_10_the_answer_never_comes_but_the_receipts_do(caller: Caller) -> None:
    began = time.monotonic()
    with pytest.raises(httpx.RemoteProtocolError):
        caller.send(destination="447700900010")
    assert time.monotonic() - began >= 0.2
    caller.settle()
    (message,) = caller.messages()
    came = caller.receiver.of(message["sms_activity_id"])
    assert [receipt["status"] for receipt in came] == ["ACKNOWLEDGED", "DELIVERED"]


def test_10_a_caller_may_leave_first(caller: Caller) -> None:
    caller.behave(withheld=60)
    with pytest.raises(httpx.ReadTimeout):
        caller.client.post(
            "/SMS?v=3&method=sendSms",
            content=b"<request><origin>1</origin><destination>4410</destination>"
            b"<message>m</message></request>",
            headers={"username": "u", "secureKey": "k"},
            timeout=0.1,
        )
    assert caller.counts()["accepted"] == 1


def test_11_destination_invalid(caller: Caller) -> None:
    answer = caller.send(destination="447700900011")
    assert errors_of(answer) == ["Destination Invalid: 447700900011"]
    assert answer.status_code == 400
    assert caller.counts()["accepted"] == 0


def test_12_unauthorized(caller: Caller) -> None:
    answer = caller.send(destination="447700900012")
    assert errors_of(answer) == ["HTTP 401: Unauthorized"]
    assert caller.counts()["accepted"] == 0


@pytest.mark.parametrize("digits", ["00", "02", "06", "07", "14"])
def test_events_are_dated_in_the_order_in_which_they_happened(caller: Caller, digits: str) -> None:
    sms_activity_id = id_of(caller.send(destination=f"4477009000{digits}"))
    caller.settle()
    came = caller.receiver.of(sms_activity_id)
    dated = {r["status"]: datetime.fromisoformat(r["receipt_timestamp"]) for r in came}
    times = sorted(dated.values())
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(seconds=1)}
    assert min(dated, key=lambda status: dated[status]) == "ACKNOWLEDGED"


def test_events_may_share_a_second(caller: Caller) -> None:
    caller.behave(event_spacing=0)
    sms_activity_id = id_of(caller.send())
    caller.settle()
    came = caller.receiver.of(sms_activity_id)
    assert len({receipt["receipt_timestamp"] for receipt in came}) == 1
