"""The live stream: what is made of its bytes, and how it comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from threading import Event
from typing import Any

import httpx
import pytest

from iovox_receipts import NotAuthenticated, NotUnderstood, Unreachable
from tests.client.misbehaving import server
from tests.client.scripted import Answer, Play, event, problem
from tests.support.process import clean_environment

OPENING = ": connected\nretry: 1000\nid: e0\n\n"
HEARTBEAT = ": heartbeat\n\n"


def block(number: int) -> str:
    return f"id: e{number}\ndata: {json.dumps(event(number))}\n\n"


def stream(*blocks: str) -> httpx.Response:
    headers = {"Content-Type": "text/event-stream"}
    return httpx.Response(200, headers=headers, text="".join(blocks))


@pytest.mark.parametrize(
    ("answers", "places"),
    [
        pytest.param([stream(OPENING, block(1), HEARTBEAT, block(2))], [None], id="one stream"),
        pytest.param(
            [stream(OPENING, block(1)), stream(block(2))], [None, "e1"], id="ended and taken up"
        ),
        pytest.param(
            [stream(OPENING), stream(block(1), block(2))], [None, "e0"], id="ended before an event"
        ),
        pytest.param(
            [stream(OPENING, block(1), block(2)[:-9]), stream(block(2))],
            [None, "e1"],
            id="cut in the middle of an event",
        ),
        pytest.param(
            [stream(OPENING, block(1)), httpx.ConnectError(""), problem(503), stream(block(2))],
            [None, "e1", "e1", "e1"],
            id="an outage in between",
        ),
    ],
)
def test_every_event_comes_once(
    play: Play, answers: list[Answer], places: list[str | None]
) -> None:
    script = play(answers)
    found = islice(script.client(patience=0.1).stream(), 2)
    assert [one.id for one in found] == ["e1", "e2"]
    assert [request.headers.get("Last-Event-ID") for request in script.requests] == places


def test_it_starts_where_it_is_told_to_and_chooses(play: Play) -> None:
    script = play([stream(block(6))])
    next(script.client().stream(after="e5", status=["FAILED", "EXPIRED"], reference="order-42"))
    request = script.requests[0]
    assert request.headers["Last-Event-ID"] == "e5"
    assert request.url.params.get_list("status") == ["FAILED", "EXPIRED"]
    assert request.url.params["reference"] == "order-42"


def garbled(_: httpx.Request) -> httpx.Response:
    raise httpx.DecodingError("no gzip")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(problem(401), NotAuthenticated, id="wrong key"),
        pytest.param(httpx.ConnectError("refused"), Unreachable, id="nobody was ever there"),
        pytest.param(httpx.Response(200, text="<html>"), NotUnderstood, id="not the service"),
        pytest.param(garbled, NotUnderstood, id="what cannot be decoded"),
        pytest.param(stream("data: no JSON\n\n"), NotUnderstood, id="not JSON"),
    ],
)
def test_what_will_not_pass_is_an_error(play: Play, answer: Answer, error: type[Exception]) -> None:
    with pytest.raises(error):
        next(play([answer]).client(patience=0.1).stream())


LEFT = """
import asyncio, sys
from iovox_receipts import AsyncClient, Client

async def left(url):
    client = AsyncClient(url, "key")
    events = client.stream()
    await anext(events)
    if sys.argv[2] == "closed":
        await client.close()

if sys.argv[2] == "blocking":
    with Client(sys.argv[1], "key") as client:
        events = client.stream()
        next(events)
elif sys.argv[2] == "neither":
    client = Client(sys.argv[1], "key")
    events = client.stream()
    next(events)
else:
    asyncio.run(left(sys.argv[1]))
"""


@pytest.mark.parametrize("how", ["open", "closed", "blocking", "neither"])
def test_a_stream_that_is_left_in_the_middle_ends_quietly(how: str) -> None:
    def speak(connection: Any, over: Event) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        connection.sendall(head + (OPENING + block(1)).encode())
        over.wait()

    with server(speak) as url:
        done = subprocess.run(
            [sys.executable, "-c", LEFT, url, how],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=clean_environment({}),
        )
    assert (done.returncode, done.stderr) == (0, "")
