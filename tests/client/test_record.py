"""The audit and erasures, and the end of the feed, as the client has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from iovox_receipts import Conflict, Gone
from tests.client.scripted import Play, problem

ENTRY: dict[str, Any] = {
    "id": "e1",
    "at": "2026-11-22T09:00:00Z",
    "who": "key:3f2a9c11",
    "app": "support",
    "address": "192.0.2.1",
    "action": "messages.search",
    "what": None,
    "destination": "447700900123",
    "reference": None,
    "details": {"statuses": ["FAILED"]},
    "times": 1,
}
ERASURE: dict[str, Any] = {
    "id": "x1",
    "requested_at": "2026-11-22T09:00:00Z",
    "who": "key:3f2a9c11",
    "app": "ops",
    "digest": None,
    "counts": {"messages": 3},
    "erased_at": "2026-11-22T09:00:01Z",
    "completed_at": None,
    "waiting_for": [],
}


def test_the_audit_page_by_page(play: Play) -> None:
    pages = [{"entries": [ENTRY], "next": "c"}, {"entries": [ENTRY | {"id": "e2"}], "next": None}]
    script = play([httpx.Response(200, json=page) for page in pages])
    since = datetime(2026, 11, 22, tzinfo=UTC)
    found = list(script.client().record.audit(action="messages.search", from_=since))
    assert [(one.id, one.who, one.times) for one in found] == [
        ("e1", "key:3f2a9c11", 1),
        ("e2", "key:3f2a9c11", 1),
    ]
    assert found[0].destination == "447700900123"
    assert "447700900123" not in repr(found[0])
    asked = [dict(request.url.params) for request in script.requests]
    assert asked[0] == {
        "limit": "500",
        "action": "messages.search",
        "from": "2026-11-22T00:00:00Z",
    }
    assert asked[1]["cursor"] == "c"


def test_an_erasure_is_asked_for_and_followed(play: Play) -> None:
    done = ERASURE | {"completed_at": "2026-11-22T09:01:00Z"}
    script = play([httpx.Response(202, json=ERASURE), httpx.Response(200, json=done)])
    with script.client() as client:
        asked = client.record.erase("+44 7700 900123")
        assert (asked.id, asked.completed_at, asked.counts) == ("x1", None, {"messages": 3})
        assert client.record.erasure("x1").completed_at is not None
        with pytest.raises(ValueError, match="id"):
            client.record.erasure("")
    assert script.requests[1].url.path == "/v1/erasures/x1"


def test_one_that_is_being_sent_to_is_a_conflict(play: Play) -> None:
    with pytest.raises(Conflict):
        play([problem(409)]).client().record.erase("447700900123")


def test_the_feed_says_where_it_goes_on(play: Play) -> None:
    script = play([problem(410, "gone", next="0f0f")])
    with pytest.raises(Gone) as caught:
        next(script.client().events(after="0f00"))
    assert caught.value.next == "0f0f"
    assert len(script.requests) == 1
