"""A POST that comes whole is handed over as it is; everything else goes the usual way."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import suppress
from typing import Any

import pytest
import uvicorn

from app.server.complete_posts import CompletePostHttp
from app.server.requests import CompleteRequest
from tests.receive.serving import RawAnswer, hung_up, read_answer
from tests.simulator.running import running

KEEP_ALIVE = 1
LATER = 0.4
"""Seconds that an answer takes where the body asks for it."""


class Application:
    """Answers with the way that a request took, and with its body."""

    def __init__(self) -> None:
        self.complete_posts = {b"/dlr": self.take_whole}

    def take_whole(self, call: CompleteRequest) -> None:
        def answer() -> None:
            seen = b" ".join(name for name, _ in call.headers)
            call.respond(200, [(b"way", b"whole"), (b"seen", seen)], call.body)

        if call.body == b"empty":
            call.respond(200, [], b"")
        elif call.body.startswith(b"later"):
            asyncio.get_running_loop().call_later(LATER, answer)
        else:
            answer()

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = [(b"way", b"usual"), (b"content-length", str(len(body)).encode())]
        assert (b"host", b"x") in scope["headers"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def made() -> uvicorn.Server:
    config = uvicorn.Config(
        Application(),
        port=0,
        http=CompletePostHttp,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # it wraps the application, which then hands nothing over
        timeout_keep_alive=KEEP_ALIVE,
    )
    return uvicorn.Server(config)


@pytest.fixture(scope="module")
def server() -> Iterator[uvicorn.Server]:
    server = made()
    with running(server):
        yield server


@pytest.fixture
def connection(server: uvicorn.Server) -> Iterator[socket.socket]:
    address = server.servers[0].sockets[0].getsockname()
    with socket.create_connection(address, timeout=10) as made:
        yield made


def post(body: bytes, *, path: str = "/dlr", more: str = "", version: str = "1.1") -> bytes:
    head = f"POST {path} HTTP/{version}\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def took(answer: RawAnswer) -> tuple[str, bytes]:
    assert answer.status == 200
    return answer.headers["way"], answer.body


CHUNKED = b"POST /dlr HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
WAYS = [
    ("whole", post(b"abc"), ("whole", b"abc")),
    ("nothing in it", post(b""), ("whole", b"")),
    ("large", post(b"x" * 30_000), ("whole", b"x" * 30_000)),
    ("in chunks", CHUNKED + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", ("whole", b"abc")),
    ("another path", post(b"abc", path="/dlr/"), ("usual", b"abc")),
    ("a query", post(b"abc", path="/dlr?a=b"), ("usual", b"abc")),
    ("another method", post(b"abc").replace(b"POST", b"PUT"), ("usual", b"abc")),
    ("an old version", post(b"abc", version="1.0"), ("usual", b"abc")),
]


@pytest.mark.parametrize(("sent", "way"), [w[1:] for w in WAYS], ids=[w[0] for w in WAYS])
def test_the_way_it_takes(connection: socket.socket, sent: bytes, way: tuple[str, bytes]) -> None:
    connection.sendall(sent)
    assert took(read_answer(connection)) == way


@pytest.mark.parametrize("cut", [1, 20, 45, -4, -1])
def test_what_comes_in_pieces_is_put_together(connection: socket.socket, cut: int) -> None:
    """A cut in the head leaves the body whole; a cut in the body does not."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sent = post(b"abcdef")
    connection.sendall(sent[:cut])
    time.sleep(0.1)
    connection.sendall(sent[cut:])
    way = "whole" if cut > 0 else "usual"
    assert took(read_answer(connection)) == (way, b"abcdef")
    connection.sendall(post(b"next"))
    assert took(read_answer(connection)) == ("whole", b"next")


OFFERS = [
    ("h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
    ("websocket", "Connection: upgrade\r\nUpgrade: websocket\r\n"),
]


@pytest.mark.parametrize("offer", [one[1] for one in OFFERS], ids=[one[0] for one in OFFERS])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in pieces"])
def test_another_protocol_is_declined_and_nothing_is_lost(
    connection: socket.socket, offer: str, *, at_once: bool
) -> None:
    head, body = post(b"abc", more=offer)[:-3], b"abc"
    connection.sendall(head + body if at_once else head)
    if not at_once:
        time.sleep(0.1)
        connection.sendall(body)
    assert took(read_answer(connection)) == ("whole" if at_once else "usual", b"abc")
    connection.sendall(post(b"def", more=offer) + post(b"ghi"))
    found = b""
    while b"ghi" not in found:
        found += connection.recv(4096)
    assert (found.count(b"HTTP/1.1 200 OK"), found.count(b"def")) == (2, 1)


def test_an_offer_to_close_as_well_is_heard(connection: socket.socket) -> None:
    connection.sendall(post(b"abc", more="Connection: close, Upgrade\r\nUpgrade: h2c\r\n"))
    assert took(read_answer(connection)) == ("whole", b"abc")
    assert hung_up(connection, within=1)


def test_a_tunnel_is_not_offered(connection: socket.socket) -> None:
    connection.sendall(b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert read_answer(connection).status == 400
    assert hung_up(connection, within=1)


ENDLESS = [
    ("a header", b"POST /dlr HTTP/1.1\r\nHost: x\r\nX: ", 431),
    ("a path", b"POST /", 431),
    ("a header behind the body", CHUNKED + b"1\r\na\r\n0\r\nX: ", None),
]


@pytest.mark.parametrize(
    ("begun", "status"), [one[1:] for one in ENDLESS], ids=[one[0] for one in ENDLESS]
)
def test_what_has_no_end_is_hung_up_on(
    connection: socket.socket, begun: bytes, status: int | None
) -> None:
    """Long before it keeps others waiting, which it does by its length squared."""
    connection.sendall(begun)
    sent = 0
    with suppress(ConnectionError):
        while sent < 4_000_000:
            time.sleep(0.005)  # so that it comes in pieces
            connection.sendall(b"a" * 10_000)
            sent += 10_000
    assert sent < 1_000_000
    if status is not None:
        with suppress(ConnectionError):
            assert read_answer(connection).status == status


def test_a_secret_behind_the_body_is_none(connection: socket.socket) -> None:
    connection.sendall(CHUNKED + b"3\r\nabc\r\n0\r\nX-Custom-Header: late\r\n\r\n")
    answer = read_answer(connection)
    assert (took(answer), answer.headers["seen"]) == (("whole", b"abc"), "host transfer-encoding")


def test_nothing_is_read_of_who_waits_to_be_told_to_go_on(connection: socket.socket) -> None:
    connection.sendall(post(b"abc", more="Expect: 100-continue\r\n"))
    assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert took(read_answer(connection)) == ("usual", b"abc")


def test_several_at_once_are_answered_in_their_order(connection: socket.socket) -> None:
    """The first is under way when the next ones come: those wait for it."""
    connection.sendall(post(b"later") + post(b"two") + post(b"three"))
    found = b""
    while b"three" not in found:
        found += connection.recv(4096)
    assert found.count(b"HTTP/1.1 200 OK") == 3
    assert found.index(b"later") < found.index(b"two") < found.index(b"three")


def test_a_connection_that_is_to_be_closed_is(connection: socket.socket) -> None:
    connection.sendall(post(b"abc", more="Connection: close\r\n"))
    answer = read_answer(connection)
    assert (took(answer), answer.headers["connection"]) == (("whole", b"abc"), "close")
    assert hung_up(connection, within=1)


@pytest.mark.parametrize("body", [b"empty", b"abc"])
def test_an_idle_connection_is_kept_for_its_time(connection: socket.socket, body: bytes) -> None:
    for _ in range(3):  # each begins the time anew
        connection.sendall(post(body))
        assert read_answer(connection).status == 200
        time.sleep(KEEP_ALIVE * 0.6)
    assert hung_up(connection, within=KEEP_ALIVE + 1)


def test_a_late_answer_is_not_cut_off_by_idleness(connection: socket.socket) -> None:
    connection.sendall(post(b"empty"))
    assert read_answer(connection).status == 200
    time.sleep(KEEP_ALIVE - LATER / 2)
    connection.sendall(post(b"later"))
    assert took(read_answer(connection)) == ("whole", b"later")


def test_who_has_gone_is_not_answered(connection: socket.socket, server: uvicorn.Server) -> None:
    connection.sendall(post(b"later"))
    connection.close()
    time.sleep(LATER * 2)
    address = server.servers[0].sockets[0].getsockname()
    with socket.create_connection(address, timeout=10) as another:
        another.sendall(post(b"abc"))
        assert took(read_answer(another)) == ("whole", b"abc")


def test_what_is_under_way_at_a_stop_is_answered_as_the_last() -> None:
    server = made()
    with running(server):
        address = server.servers[0].sockets[0].getsockname()
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(post(b"later"))
            time.sleep(LATER / 8)  # it looks ten times a second whether it is to stop
            server.should_exit = True
            answer = read_answer(connection)
            assert (took(answer), answer.headers["connection"]) == (("whole", b"later"), "close")
            assert hung_up(connection, within=1)
