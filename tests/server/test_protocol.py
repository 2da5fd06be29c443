"""What is left of a body once its request is answered: read and dropped, but not for ever."""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import suppress
from typing import Any

import pytest

from app.server.complete_posts import CompletePostHttp
from tests.receive.serving import hung_up, read_answer
from tests.server.serving import serving

REST = 0.3


class HastyHttp(CompletePostHttp):
    discard_timeout = REST


async def refuse(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[object]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Answers 401 to everybody and reads nothing."""
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": b"no"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(refuse, HastyHttp) as port:
        yield port


@pytest.fixture
def connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as made:
        yield made


def head(length: str) -> bytes:
    return f"POST / HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode()


HANGING = [
    ("nothing", head("Content-Length: 100")),
    ("half", head("Content-Length: 100") + b"x" * 50),
    ("half a chunk", head("Transfer-Encoding: chunked") + b"10\r\nx"),
    ("no last chunk", head("Transfer-Encoding: chunked") + b"1\r\nx\r\n"),
]


@pytest.mark.parametrize("sent", [pytest.param(row[1], id=row[0]) for row in HANGING])
def test_who_hangs_is_answered_and_hung_up_on(connection: socket.socket, sent: bytes) -> None:
    connection.sendall(sent)
    assert read_answer(connection).status == 401
    assert hung_up(connection, within=REST + 2)


def test_a_byte_now_and_then_does_not_help(connection: socket.socket) -> None:
    started = time.monotonic()
    connection.sendall(head("Content-Length: 100000"))
    with suppress(ConnectionError):
        while time.monotonic() - started < REST + 2:
            connection.sendall(b"x")
            if hung_up(connection, within=0.02):
                break
    assert time.monotonic() - started < REST + 2


WHOLE = [
    ("no body", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("at once", head("Content-Length: 3") + b"abc"),
    ("chunked", head("Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n"),
]


@pytest.mark.parametrize("sent", [pytest.param(row[1], id=row[0]) for row in WHOLE])
def test_a_whole_request_keeps_its_connection(connection: socket.socket, sent: bytes) -> None:
    for _ in range(2):
        connection.sendall(sent)
        assert read_answer(connection).status == 401
    assert not hung_up(connection, within=REST * 2)


def test_a_body_that_comes_after_its_answer_keeps_it_too(connection: socket.socket) -> None:
    for _ in range(2):
        connection.sendall(head("Content-Length: 200000"))
        assert read_answer(connection).status == 401
        connection.sendall(b"x" * 200_000)
    assert not hung_up(connection, within=REST * 2)


def test_an_answer_is_seen_however_much_is_sent(connection: socket.socket) -> None:
    connection.sendall(head("Content-Length: 20000000"))
    connection.sendall(b"x" * 20_000_000)
    assert read_answer(connection).status == 401


def test_requests_in_one_piece_are_all_answered(connection: socket.socket) -> None:
    connection.sendall((head("Content-Length: 3") + b"abc") * 3 + head("Content-Length: 9"))
    received = b""
    while received.count(b"HTTP/1.1 401") < 4:
        received += connection.recv(4096)
    assert hung_up(connection, within=REST + 2)
