"""What each method asks, and what it makes of the answer."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from iovox_receipts import Conflict, NotFinalYet, NotFound, Unreachable
from tests.client.both import Make
from tests.client.scripted import KEY, URL, Play, event, message, problem, sent

SEEDS = [
    {
        "status": "SUBMITTED",
        "at": "2020-05-06T17:37:36.5Z",
        "source": "service",
    },
    {
        "status": "DELIVERED",
        "at": "2020-05-06T17:37:46Z",
        "source": "iovox",
        "delivery_status": "delivery success",
        "status_reason": "1",
        "receipt_timestamp": "2020-05-06 18:37:46",
        "time_quality": "exact",
        "received_at": "2020-05-06T17:37:47.25Z",
        "times_seen": 2,
    },
]


def test_a_send_asks_for_what_it_was_given_and_nothing_else(play: Play) -> None:
    script = play([sent()])
    with script.client() as client:
        client.send("447923221231", "+44 7723 443321", "Hello")
        client.send(
            "447923221231",
            "447723443321",
            "Hello",
            expiry=3,
            c2c_failover_link_id="123456",
            reference="order-42",
            send_at=datetime(2026, 11, 22, 10, tzinfo=timezone(timedelta(hours=1))),
        )
    short, full = script.bodies()
    assert short == {
        "origin": "447923221231",
        "destination": "+44 7723 443321",
        "message": "Hello",
    }
    assert full["send_at"] == "2026-11-22T09:00:00Z"
    assert (full["expiry"], full["c2c_failover_link_id"], full["reference"]) == (
        3,
        "123456",
        "order-42",
    )


def test_the_answer_to_a_send(play: Play) -> None:
    answer = httpx.Response(
        202,
        headers={"Idempotency-Replayed": "true"},
        json={
            "id": "0193",
            "sms_activity_id": None,
            "status": "UNCONFIRMED",
            "errors": [],
            "reasons": ["the answer was lost"],
            "segments": 2,
            "encoding": "UCS-2",
            "warning": "an emoji",
        },
    )
    found = play([answer]).client().send("a", "b", "c")
    assert (found.id, found.status, found.sms_activity_id) == ("0193", "UNCONFIRMED", None)
    assert (found.reasons, found.replayed) == (("the answer was lost",), True)
    assert (found.segments, found.encoding, found.warning) == (2, "UCS-2", "an emoji")


def test_a_time_without_a_zone_is_refused_before_anything_is_asked(play: Play) -> None:
    script = play([sent()])
    with pytest.raises(ValueError, match="zone"):
        script.client().send("a", "b", "c", send_at=datetime(2026, 11, 22))  # noqa: DTZ001
    assert script.requests == []


def test_a_message_with_its_history(play: Play) -> None:
    found = play([message("DELIVERED", final=True, history=SEEDS)]).client().status("a-1")
    assert (found.status, found.final, found.text) == ("DELIVERED", True, "Hello")
    assert found.status_at == datetime(2020, 5, 6, 17, 37, 46, tzinfo=UTC)
    ours, theirs = found.history
    assert (ours.source, ours.receipt_timestamp, ours.times_seen) == ("service", None, None)
    assert (theirs.receipt_timestamp, theirs.time_quality) == ("2020-05-06 18:37:46", "exact")
    assert (theirs.delivery_status, theirs.status_reason) == ("delivery success", "1")
    assert theirs.received_at == datetime(2020, 5, 6, 17, 37, 47, 250_000, tzinfo=UTC)


def test_reprs_show_no_content(play: Play) -> None:
    found = play([message(history=SEEDS)]).client().status("a-1")
    shown = repr(found)
    for private in ("447723443321", "447923221231", "Hello", "order-42"):
        assert private not in shown
    assert "0193e0c4" in shown


def test_a_client_does_not_show_its_key(make: Make) -> None:
    client = make(URL, KEY)
    assert KEY not in repr(client)


@pytest.mark.parametrize("name", ["", "."])
def test_an_empty_id_is_refused_before_anything_is_asked(play: Play, name: str) -> None:
    script = play([problem(404)])
    with pytest.raises((ValueError, NotFound)):
        script.client().status(name)
    assert len(script.requests) == len(name)


def tagged(answer: httpx.Response, tag: str) -> httpx.Response:
    answer.headers["ETag"] = tag
    return answer


def test_waits_until_it_is_final_with_answers_that_are_held(play: Play) -> None:
    answers = [
        tagged(message("SUBMITTED"), '"1"'),
        httpx.Response(304, headers={"ETag": '"1"'}),
        tagged(message("ACKNOWLEDGED"), '"2"'),
        tagged(message("DELIVERED", final=True), '"3"'),
    ]
    script = play(answers)
    assert script.client().wait_final("a-1", timeout=60).status == "DELIVERED"
    assert [request.url.params.get("wait") for request in script.requests] == [
        None,
        *["20"] * 3,
    ]
    assert [request.headers.get("If-None-Match") for request in script.requests] == [
        None,
        '"1"',
        '"1"',
        '"2"',
    ]
    # Only after the one that was answered at once and without news.
    assert len(script.slept) == 1


def test_polls_where_no_answer_is_held(play: Play) -> None:
    answers = [message("SUBMITTED")] * 3 + [message("DELIVERED", final=True)]
    script = play(answers)
    assert script.client().wait_final("a-1", timeout=60).status == "DELIVERED"
    assert len(script.slept) == 2


def test_waiting_ends_in_time_and_tells_the_last_status(play: Play, make: Make) -> None:
    script = play([message("ACKNOWLEDGED")])
    client = make(URL, KEY, transport=script)
    started_at = time.monotonic()
    with pytest.raises(NotFinalYet) as raised:
        client.wait_final("a-1", timeout=0.3)
    assert isinstance(raised.value, TimeoutError)
    assert raised.value.message.status == "ACKNOWLEDGED"
    assert 0.3 <= time.monotonic() - started_at < 5


def test_watching_tells_each_change_once(play: Play) -> None:
    answers = [
        message("SUBMITTED"),
        message("SUBMITTED"),
        message("SUBMITTED", history=SEEDS[:1]),
        message("DELIVERED", final=True, history=SEEDS),
    ]
    found = list(play(answers).client().watch("a-1"))
    assert [(m.status, len(m.history)) for m in found] == [
        ("SUBMITTED", 0),
        ("SUBMITTED", 1),
        ("DELIVERED", 2),
    ]


def test_cancelling_twice_is_cancelling_once(play: Play) -> None:
    lost = httpx.ReadError("")
    script = play([lost, problem(409), message("CANCELLED", final=True)])
    script.client().cancel("a-1")
    assert [request.method for request in script.requests] == ["DELETE", "DELETE", "GET"]


@pytest.mark.parametrize("look", [message("DELIVERED", final=True), problem(403)])
def test_what_cannot_be_cancelled_is_a_conflict(play: Play, look: httpx.Response) -> None:
    with pytest.raises(Conflict):
        play([problem(409), look]).client().cancel("a-1")


def page(*names: str, cursor: str | None) -> httpx.Response:
    one = message().json()
    return httpx.Response(200, json={"messages": [one | {"id": n} for n in names], "next": cursor})


def test_lists_page_by_page(play: Play) -> None:
    script = play([page("3", "2", cursor="c2"), page("1", cursor=None)])
    assert [m.id for m in script.client().all(status=["FAILED", "EXPIRED"])] == ["3", "2", "1"]
    first, second = (request.url.params for request in script.requests)
    assert first.get_list("status") == ["FAILED", "EXPIRED"]
    assert (first.get("cursor"), second.get("cursor")) == (None, "c2")


def test_filters_are_written_as_the_api_reads_them(play: Play) -> None:
    script = play([page(cursor=None)])
    since = datetime(2026, 11, 22, 9, tzinfo=UTC)
    script.client().list(final=True, overdue=False, from_=since, reference=None, limit=5)
    assert dict(script.requests[0].url.params) == {
        "limit": "5",
        "final": "true",
        "overdue": "false",
        "from": "2026-11-22T09:00:00Z",
    }


def test_a_misspelt_filter_is_refused_before_anything_is_asked(play: Play) -> None:
    script = play([page(cursor=None)])
    with script.client() as client:
        for ask in (client.list, lambda **filters: list(client.all(**filters))):
            with pytest.raises(TypeError, match="'statsu' is not a filter; there are: status, "):
                ask(statsu="FAILED")  # type: ignore[call-arg]
    assert script.requests == []


def test_looks_up_any_number_in_thousands(play: Play) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        ids = script.bodies()[-1]["ids"]
        return httpx.Response(200, json={"messages": [message().json()], "not_found": ids[1:]})

    script = play([answer])
    found = script.client().lookup([str(number) for number in range(2_500)])
    assert [len(body["ids"]) for body in script.bodies()] == [1_000, 1_000, 500]
    assert (len(found.messages), len(found.not_found)) == (3, 2_497)


def test_a_batch(play: Play) -> None:
    outcomes = [{"index": 0, "id": "1", "status": "QUEUED", "errors": []}]
    script = play([httpx.Response(202, json={"messages": outcomes})])
    one = {"origin": "a", "destination": "b", "message": "c"}
    assert script.client().send_batch([one]) == outcomes
    assert script.bodies() == [{"messages": [one]}]
    assert script.requests[0].headers["Idempotency-Key"]


def test_a_batch_may_be_for_later(play: Play) -> None:
    script = play([httpx.Response(202, json={"messages": []})])
    later = datetime(2026, 11, 22, 9, tzinfo=UTC)
    script.client().send_batch([{"origin": "a", "send_at": later}, {"send_at": "tomorrow"}])
    assert script.bodies() == [
        {"messages": [{"origin": "a", "send_at": "2026-11-22T09:00:00Z"}, {"send_at": "tomorrow"}]}
    ]


def feed(*numbers: int, after: str) -> httpx.Response:
    return httpx.Response(200, json={"events": [event(n) for n in numbers], "next": after})


def test_the_feed_is_read_to_its_end(play: Play) -> None:
    script = play([feed(1, 2, after="e2"), feed(3, after="e3"), feed(after="e3")])
    assert [e.id for e in script.client().events(follow=False)] == ["e1", "e2", "e3"]
    assert [r.url.params.get("after") for r in script.requests] == [None, "e2", "e3"]


def test_the_feed_goes_on_after_an_outage_where_it_was(play: Play) -> None:
    down: list[Any] = [httpx.ConnectError("")] * 2 + [problem(503)]
    script = play([feed(1, after="e1"), *down, feed(after="e1"), feed(2, after="e2")])
    events = script.client(patience=0.1).events(after="e0")
    assert [next(events).id, next(events).id] == ["e1", "e2"]
    assert [r.url.params["after"] for r in script.requests] == ["e0", *["e1"] * 5]


def test_a_feed_that_is_not_followed_fails_when_the_service_is_away(play: Play) -> None:
    script = play([httpx.ConnectError("")])
    with pytest.raises(Unreachable):
        list(script.client(patience=0.1).events(follow=False))
