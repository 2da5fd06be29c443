"""What a test asks the simulator about itself, its knobs, its outages, and how it stops."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from app.simulator import ledger as ledger_module
from app.simulator.behaviour import Behaviour
from app.simulator.ledger import Ledger
from app.simulator.main import create_simulator
from app.simulator.server import make_server

from .running import Caller, Receiver, errors_of, id_of, running


def test_messages_shows_what_was_accepted(caller: Caller) -> None:
    text = "& < > \" ' 😀\nouter space "
    sms_activity_id = id_of(
        caller.send(
            message=text,
            callback_url_headers="x-message-id: m-1",
            expiry="3",
            c2c_failover_link_id="0123",
        )
    )
    (message,) = caller.messages()
    assert message.pop("received_at").endswith("+00:00")
    assert message == {
        "sms_activity_id": sms_activity_id,
        "x_message_id": "m-1",
        "origin": "447923221231",
        "destination": "447700900000",
        "message": text,
        "expiry": "3",
        "c2c_failover_link_id": "0123",
        "callback_url": caller.receiver.url,
        "times": 1,
    }


def test_counts_are_exact(caller: Caller) -> None:
    for digits in ("00", "00", "01", "09", "09", "12"):
        name = f"m-{digits}"
        caller.send(destination=f"4477009000{digits}", callback_url_headers=f"X-Message-Id: {name}")
    caller.post(b"")
    caller.settle()
    assert caller.counts() == {
        "requests": 7,
        "accepted": 4,
        "repeated": 1,
        "uncounted": 0,
        "receipts": {"posted": 8, "accepted": 8, "refused": 0, "unanswered": 0},
        "pending": 0,
        "by_message_id": {"m-00": 2, "m-01": 1, "m-09": 1},
        "attempts_by_message_id": {"m-00": 2, "m-01": 1, "m-09": 2, "m-12": 1},
    }


def test_brief_counts_leave_the_ids_out(caller: Caller) -> None:
    brief = caller.client.get("/_simulator/counts?brief").json()
    assert "by_message_id" not in brief
    assert brief["requests"] == 0


def test_ids_beyond_the_bound_are_owned_up_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_IDS", 2)
    ledger = Ledger()
    for name in ("a", "b", "c", "a", None):
        ledger.attempt(name)
    assert ledger.attempts_by_id == {"a": 2, "b": 1}
    assert ledger.uncounted == 1
    assert [ledger.fails_now(key) for key in ("a", "a", "b", "c", "a")] == [
        True,
        False,
        True,
        True,
        True,
    ]


def test_reset_forgets_and_drops_what_is_pending(caller: Caller) -> None:
    caller.behave(receipt_delay=0.2)
    caller.send()
    assert caller.counts()["pending"] == 1
    assert caller.client.post("/_simulator/reset").status_code == 204
    assert caller.counts()["pending"] == caller.counts()["requests"] == 0
    assert caller.messages() == []
    time.sleep(0.25)
    assert caller.receiver.calls == []


def test_an_answer_can_be_slow(caller: Caller) -> None:
    caller.behave(answer_delay=0.1)
    for destination, status in (("447700900000", 201), ("abc", 400)):
        began = time.monotonic()
        assert caller.send(destination=destination).status_code == status
        assert time.monotonic() - began >= 0.1


WRONG = [
    ("no JSON", b"{", "body"),
    ("no object", b"[]", "body"),
    ("nothing", b"", "body"),
    ("nested beyond reason", b"[" * 200_000, "body"),
    ("too large", b" " * 300_000, "body"),
    ("not UTF-8", b'{"down": "\xff"}', "body"),
    ("an unknown knob", b'{"speed": 1}', "speed"),
    ("a negative wait", b'{"answer_delay": -1}', "answer_delay"),
    ("a wait that is no number", b'{"answer_delay": NaN}', "answer_delay"),
    ("a wait without end", b'{"withheld": Infinity}', "withheld"),
    ("a flag for a number", b'{"receipt_delay": true}', "receipt_delay"),
    ("a number for a flag", b'{"receipts": 1}', "receipts"),
    ("an unknown outage", b'{"down": "418"}', "down"),
    ("a number for an outage", b'{"down": 503}', "down"),
    ("a list for an outage", b'{"down": []}', "down"),
    ("no message at all", b'{"longest_message": 0}', "longest_message"),
]


@pytest.mark.parametrize(("body", "named"), [c[1:] for c in WRONG], ids=[c[0] for c in WRONG])
def test_wrong_behaviour_is_refused_by_name(caller: Caller, body: bytes, named: str) -> None:
    before = caller.client.get("/_simulator/behaviour").json()
    answer = caller.client.post("/_simulator/behaviour", content=body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [named]
    assert caller.client.get("/_simulator/behaviour").json() == before


def test_one_wrong_knob_changes_none(caller: Caller) -> None:
    answer = caller.client.post("/_simulator/behaviour", json={"receipts": False, "down": "x"})
    assert answer.status_code == 400
    assert caller.client.get("/_simulator/behaviour").json()["receipts"] is True


def test_wrong_behaviour_is_refused_at_the_start_too() -> None:
    with pytest.raises(ValueError, match="answer_delay: must be seconds"):
        Behaviour(answer_delay=-1)


def test_jitter_makes_answers_come_earlier_and_later_but_never_before_now() -> None:
    times = [Behaviour(answer_delay=1.0, answer_jitter=0.5).time_to_answer() for _ in range(200)]
    assert all(0.5 <= time <= 1.5 for time in times)
    assert min(times) < 0.8 < 1.2 < max(times)
    assert min(Behaviour(answer_jitter=0.5).time_to_answer() for _ in range(100)) == 0


OUTAGES = [("429", 429), ("500", 500), ("bare-500", 500), ("502", 502), ("503", 503), ("504", 504)]


@pytest.mark.parametrize(("down", "status"), OUTAGES)
def test_while_down_nothing_is_accepted(caller: Caller, down: str, status: int) -> None:
    caller.behave(down=down)
    assert caller.send().status_code == status
    assert (caller.counts()["requests"], caller.counts()["accepted"]) == (1, 0)
    caller.behave(down=None)
    assert caller.send().status_code == 201


def test_down_in_iovox_own_words(caller: Caller) -> None:
    caller.behave(down="500")
    assert errors_of(caller.send()) == ["Internal Server Error"]


def test_hanging_accepts_nothing_and_answers_nothing(caller: Caller) -> None:
    caller.behave(down="hang")
    with pytest.raises(httpx.RemoteProtocolError):
        caller.send()
    assert caller.counts()["accepted"] == 0


@pytest.mark.parametrize("path", ["/", "/sms", "/_simulator/none", "/docs", "/openapi.json"])
def test_there_is_nothing_else(caller: Caller, path: str) -> None:
    assert caller.client.get(path).status_code == 404


def send_one(caller: Caller) -> str:
    return str(caller.send().status_code)


def send_one_that_gets_no_answer(caller: Caller) -> str:
    try:
        caller.send(destination="447700900010")
    except httpx.RemoteProtocolError as error:
        return str(error)
    return "an answer"


STOPS: list[tuple[str, Callable[[Caller], str], str]] = [
    ("receipts pending", send_one, "201"),
    (
        "a caller waiting",
        send_one_that_gets_no_answer,
        "Server disconnected without sending a response.",
    ),
]


@pytest.mark.parametrize(("send", "outcome"), [c[1:] for c in STOPS], ids=[c[0] for c in STOPS])
def test_stopping_waits_for_nobody(
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    send: Callable[[Caller], str],
    outcome: str,
) -> None:
    app = create_simulator(behaviour=Behaviour(receipt_delay=60, withheld=60))
    with ThreadPoolExecutor() as pool, httpx.Client() as client:
        with running(make_server(app, port=0)) as url:
            client.base_url = httpx.URL(url)
            answer = pool.submit(send, Caller(client, receiver))
            time.sleep(0.1)
            began = time.monotonic()
        assert answer.result() == outcome
    assert time.monotonic() - began < 2
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert receiver.calls == []


def test_it_shares_nothing_with_the_service() -> None:
    program = (
        "import sys, app.simulator.server\n"
        "print([m for m in sys.modules if m.startswith('app.') and 'simulator' not in m])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"
