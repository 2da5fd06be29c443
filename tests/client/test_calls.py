"""When a call is made again, when it is not, and what its caller is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from iovox_receipts import (
    Client,
    ClientError,
    Conflict,
    Invalid,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    NotUnderstood,
    Problem,
    Rejected,
    TryLater,
    Unreachable,
)
from tests.client.both import Make
from tests.client.scripted import KEY, URL, Answer, Play, message, problem, sent

REFUSED = httpx.ConnectError("Connection refused")
CUT = httpx.RemoteProtocolError("Server disconnected")
SILENT = httpx.ReadTimeout("")
IN_FLIGHT = problem(409, "conflict", headers={"Retry-After": "1"})
IN_A_SECOND = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)

Act = Callable[[Client], object]


def garbled(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=b"no gzip")


def send(client: Client) -> object:
    return client.send("447923221231", "447723443321", "Hello")


def status(client: Client) -> object:
    return client.status("a-1")


def resend(client: Client) -> object:
    return client.resend("a-1")


@pytest.mark.parametrize(
    ("act", "first", "last"),
    [
        pytest.param(send, REFUSED, sent(), id="connection refused"),
        pytest.param(send, CUT, sent(), id="connection cut while it was answered"),
        pytest.param(send, SILENT, sent(), id="no answer in time"),
        pytest.param(send, IN_FLIGHT, sent(), id="an earlier try is still being answered"),
        pytest.param(send, problem(503), sent(), id="503"),
        pytest.param(send, problem(503, headers={"Retry-After": "2"}), sent(), id="503 in 2 s"),
        pytest.param(send, problem(429, headers={"Retry-After": "1"}), sent(), id="429"),
        pytest.param(send, problem(503, headers={"Retry-After": IN_A_SECOND}), sent(), id="date"),
        pytest.param(send, problem(503, headers={"Retry-After": "soon"}), sent(), id="odd wish"),
        pytest.param(send, httpx.Response(502, text="<html>"), sent(), id="a proxy's 502"),
        pytest.param(send, httpx.Response(504), sent(), id="a proxy's 504"),
        pytest.param(status, CUT, message(), id="a look, cut"),
        pytest.param(status, problem(503), message(), id="a look, 503"),
        pytest.param(resend, CUT, sent(), id="a deliberate resend, cut"),
    ],
)
def test_made_again(play: Play, act: Act, first: Answer, last: Answer) -> None:
    script = play([first, first, last])
    with script.client() as client:
        act(client)
    assert len(script.requests) == 3
    assert len(script.slept) == 2
    assert len({r.headers.get("Idempotency-Key") for r in script.requests}) == 1


@pytest.mark.parametrize(
    ("act", "answer", "error"),
    [
        pytest.param(send, problem(400), Invalid, id="400"),
        pytest.param(send, problem(401), NotAuthenticated, id="401"),
        pytest.param(send, problem(403), NotAllowed, id="403"),
        pytest.param(status, problem(404), NotFound, id="404"),
        pytest.param(send, problem(413), Invalid, id="413"),
        pytest.param(send, problem(422), Invalid, id="422"),
        pytest.param(send, problem(422, id="0193"), Rejected, id="422 of iovox"),
        pytest.param(resend, problem(409), Conflict, id="409 that will not pass"),
        pytest.param(send, problem(500), TryLater, id="500: nothing is known of its effects"),
        pytest.param(send, httpx.Response(418, text="no"), TryLater, id="a status that is none"),
        pytest.param(send, httpx.Response(200, text="<html>"), NotUnderstood, id="HTML"),
        pytest.param(send, httpx.Response(200, json=[]), NotUnderstood, id="a list"),
        pytest.param(send, httpx.Response(200, json={"id": "1"}), NotUnderstood, id="half of it"),
        pytest.param(send, garbled, NotUnderstood, id="what cannot be decoded"),
        pytest.param(status, httpx.Response(304), NotUnderstood, id="no news, unasked"),
        pytest.param(status, httpx.Response(200, json={}), NotUnderstood, id="an empty message"),
        pytest.param(status, message(status_at="soon"), NotUnderstood, id="a time that is none"),
    ],
)
def test_not_made_again(play: Play, act: Act, answer: Answer, error: type[ClientError]) -> None:
    script = play([answer])
    with script.client() as client, pytest.raises(error):
        act(client)
    assert (len(script.requests), script.slept) == (1, [])


def test_waits_for_as_long_as_it_is_asked_to(play: Play) -> None:
    script = play([problem(429, headers={"Retry-After": "7"}), sent()])
    script.client().send("a", "b", "c")
    assert script.slept == [7.0]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(problem(503, headers={"Retry-After": "60"}), TryLater, id="asked to wait"),
        pytest.param(REFUSED, Unreachable, id="nobody there"),
    ],
)
def test_patience_ends(play: Play, answer: Answer, error: type[ClientError]) -> None:
    script = play([answer])
    with pytest.raises(error):
        script.client(patience=0.1).send("a", "b", "c")
    assert len(script.requests) == 1


def test_a_problem_tells_everything(play: Play) -> None:
    faults = [
        {"field": "destination", "message": "Destination Empty"},
        {"field": "message", "message": "Message Empty"},
    ]
    script = play([problem(422, "invalid", "The message was not sent.", errors=faults)])
    with pytest.raises(Invalid) as raised:
        script.client().send("a", "", "")
    error = raised.value
    assert (error.status, error.code, error.detail) == (422, "invalid", "The message was not sent.")
    assert [(e.field, e.message) for e in error.errors] == [
        ("destination", "Destination Empty"),
        ("message", "Message Empty"),
    ]
    assert str(error) == (
        "The message was not sent; destination: Destination Empty; message: Message Empty"
    )
    assert error.is_callers_fault


def test_a_refusal_of_iovox_names_its_record(play: Play) -> None:
    faults = [{"field": "origin", "message": "Origin Empty"}]
    answer = problem(422, "refused-by-iovox", "Origin Empty", errors=faults, id="0193")
    with pytest.raises(Rejected) as raised:
        play([answer]).client().send("a", "b", "c")
    assert (raised.value.message_id, str(raised.value)) == (
        "0193",
        "Origin Empty; on record as 0193",
    )


@pytest.mark.parametrize("errors", ["no", [1, None], {"a": "b"}, [{}]])
def test_odd_problem_details_are_still_a_problem(play: Play, errors: Any) -> None:
    with pytest.raises(Problem):
        play([problem(422, errors=errors)]).client().send("a", "b", "c")


def test_every_call_carries_the_key_and_each_send_an_idempotency_key_of_its_own(play: Play) -> None:
    script = play([sent()])
    with script.client() as client:
        send(client)
        send(client)
        client.send("a", "b", "c", idempotency_key="order-42")
    assert {r.headers["Authorization"] for r in script.requests} == {f"Bearer {KEY}"}
    keys = [r.headers["Idempotency-Key"] for r in script.requests]
    assert len(set(keys)) == 3
    assert keys[2] == "order-42"


@pytest.mark.parametrize(
    "url",
    ["", "sms.example.com", "ftp://x", "https://", "file:///etc", "https://[::1"],
)
def test_a_url_that_is_none_is_refused_at_once(make: Make, url: str) -> None:
    with pytest.raises(ValueError, match="https://"):
        make(url, KEY)


@pytest.mark.parametrize("key", ["", "two words", "new\nline", "schlüssel"])
def test_a_key_that_is_none_is_refused_at_once_and_not_shown(make: Make, key: str) -> None:
    with pytest.raises(ValueError, match="API key") as raised:
        make(URL, key)
    assert not key or key not in str(raised.value)


def test_a_base_url_may_have_a_path(play: Play, make: Make) -> None:
    script = play([message()])
    make("https://example.com/sms/", KEY, transport=script).status("a/1?x")
    assert str(script.requests[0].url) == "https://example.com/sms/v1/messages/a%2F1%3Fx"
