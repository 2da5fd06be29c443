"""Webhooks as an app manages them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from iovox_receipts import Client, TryLater, Unreachable
from tests.client.scripted import Play, problem

WEBHOOK: dict[str, Any] = {
    "id": "w1",
    "app": "billing",
    "url": "https://billing.example.com/events",
    "statuses": ["DELIVERED", "FAILED"],
    "paused": False,
    "state": "ACTIVE",
    "reason": None,
    "created_at": "2026-11-22T09:00:00Z",
}


def delivery(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "type": "message.delivered",
        "event_id": "e1",
        "message_id": "0193",
        "state": "DELIVERED",
        "attempts": 2,
        "created_at": "2026-11-22T09:00:00Z",
        "next_attempt_at": None,
        "ended_at": "2026-11-22T09:00:02.5Z",
        "status_code": 204,
        "error": None,
        "payload": {},
    }


def test_a_secret_is_told_and_not_shown(play: Play) -> None:
    script = play([httpx.Response(201, json=WEBHOOK | {"secret": "whsec_abc"})])
    made = script.client().webhooks.create(WEBHOOK["url"], statuses=["DELIVERED", "FAILED"])
    assert (made.id, made.secret, made.statuses) == ("w1", "whsec_abc", ("DELIVERED", "FAILED"))
    assert "whsec_abc" not in repr(made)
    assert "secret" not in made.raw
    assert script.bodies() == [{"url": WEBHOOK["url"], "statuses": ["DELIVERED", "FAILED"]}]


@pytest.mark.parametrize("first", [httpx.ReadError(""), httpx.Response(502)])
def test_what_makes_something_new_is_not_asked_for_twice(play: Play, first: Any) -> None:
    script = play([first, httpx.Response(201, json=WEBHOOK)])
    with pytest.raises((Unreachable, TryLater)):
        script.client().webhooks.create("https://billing.example.com/events")
    assert len(script.requests) == 1


@pytest.mark.parametrize("first", [httpx.ConnectError(""), problem(503)])
def test_unless_it_surely_was_not_asked_for(play: Play, first: Any) -> None:
    script = play([first, httpx.Response(201, json=WEBHOOK)])
    assert script.client().webhooks.create("https://billing.example.com/events").id == "w1"


def test_deliveries_page_by_page(play: Play) -> None:
    pages = [
        httpx.Response(200, json={"deliveries": [delivery("d2")], "next": "d2"}),
        httpx.Response(200, json={"deliveries": [delivery("d1")], "next": None}),
    ]
    script = play(pages)
    found = list(script.client().webhooks.deliveries("w1", state="FAILED"))
    assert [one.id for one in found] == ["d2", "d1"]
    assert [dict(request.url.params) for request in script.requests] == [
        {"limit": "500", "state": "FAILED"},
        {"limit": "500", "state": "FAILED", "cursor": "d2"},
    ]


def test_a_long_replay_goes_on_until_all_is_asked_for(play: Play) -> None:
    answers = [
        httpx.Response(202, json={"replayed": 10_000, "next": "e9"}),
        httpx.Response(202, json={"replayed": 7, "next": None}),
    ]
    script = play(answers)
    count = script.client().webhooks.replay_many("w1", from_=datetime(2026, 11, 22, 9, tzinfo=UTC))
    assert count == 10_007
    assert script.bodies() == [
        {"from": "2026-11-22T09:00:00Z"},
        {"from": "2026-11-22T09:00:00Z", "after": "e9"},
    ]


@pytest.mark.parametrize(
    ("act", "method", "path"),
    [
        (lambda c: c.webhooks.get("w1"), "GET", "/v1/webhooks/w1"),
        (lambda c: c.webhooks.change("w1", paused=True), "PATCH", "/v1/webhooks/w1"),
        (lambda c: c.webhooks.rotate("w1"), "POST", "/v1/webhooks/w1/secret"),
        (lambda c: c.webhooks.delete("w/1"), "DELETE", "/v1/webhooks/w%2F1"),
    ],
)
def test_each_asks_its_route(play: Play, act: Any, method: str, path: str) -> None:
    script = play([httpx.Response(200, json=WEBHOOK)])
    with script.client() as client:
        act(client)
    (request,) = script.requests
    assert (request.method, request.url.raw_path.decode()) == (method, path)


@pytest.mark.parametrize(
    ("act", "path"),
    [
        (lambda c: c.webhooks.test("w1"), "/v1/webhooks/w1/test"),
        (lambda c: c.webhooks.delivery("w1", "d1"), "/v1/webhooks/w1/deliveries/d1"),
        (lambda c: c.webhooks.replay("w1", "d1"), "/v1/webhooks/w1/deliveries/d1/replay"),
    ],
)
def test_deliveries_are_told(play: Play, act: Any, path: str) -> None:
    script = play([httpx.Response(202, json=delivery("d1"))])
    with script.client() as client:
        found = act(client)
    assert (found.id, found.attempts, found.status_code) == ("d1", 2, 204)
    assert script.requests[0].url.path == path


@pytest.mark.parametrize("act", [lambda c: c.webhooks.get(""), lambda c: c.webhooks.test("")])
def test_an_empty_id_is_refused_before_anything_is_asked(play: Play, act: Any) -> None:
    script = play([problem(404)])
    client: Client = script.client()
    with pytest.raises(ValueError, match="id is needed"):
        act(client)
    assert script.requests == []
