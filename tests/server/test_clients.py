"""Clients that are odd, old or rude: half-closed connections, HTTP/1.0, responses never read."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import suppress
from typing import Any

import pytest

from app.server.complete_posts import CompletePostHttp
from app.server.requests import CompleteRequest
from tests.receive.serving import hung_up, read_answer
from tests.server.serving import serving

LARGE = 100_000
"""Bytes of a response: more than a transport buffers."""
STALLED = 0.5


class HastyHttp(CompletePostHttp):
    write_timeout = STALLED
    discard_timeout = 2 * STALLED


class Application:
    """Answers by path, and counts the requests that it began."""

    def __init__(self) -> None:
        self.complete_posts = {b"/dlr": self.take}
        self.begun = 0

    def take(self, request: CompleteRequest) -> None:
        asyncio.get_running_loop().call_later(0.1, request.respond, 200, [], request.body)

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        self.begun += 1
        body = b""
        while scope["path"] != "/now":
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        await asyncio.sleep(0.05)
        if scope["path"] == "/large":
            body = b"x" * LARGE
        if scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for part in (b"one ", b"two ", b"three"):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def application() -> Application:
    return Application()


@pytest.fixture(scope="module")
def port(application: Application) -> Iterator[int]:
    with serving(application, HastyHttp) as port:
        yield port


@pytest.fixture
def connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as made:
        yield made


def request(path: str, body: bytes = b"", *, version: str = "1.1") -> bytes:
    method = "POST" if body else "GET"
    head = f"{method} {path} HTTP/{version}\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def everything(connection: socket.socket) -> bytes:
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


HALF_CLOSED = [
    ("GET", request("/now"), [b""]),
    ("POST", request("/echo", b"abc"), [b"abc"]),
    ("a receipt", request("/dlr", b"abc"), [b"abc"]),
    ("a stream", request("/stream"), [b"three"]),
    ("large", request("/large"), [b"x" * LARGE]),
    ("several", request("/now") * 3 + request("/echo", b"abc") * 2, [b""] * 3 + [b"abc"] * 2),
    ("receipts", request("/dlr", b"abc") * 3, [b"abc"] * 3),
    ("many", request("/now") * 100, [b""] * 100),
    ("the last one cut off", request("/now") * 2 + b"GET /no", [b"", b""]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "bodies"), [pytest.param(*row[1:], id=row[0]) for row in HALF_CLOSED]
)
def test_a_half_closed_connection_is_answered_and_closed(
    connection: socket.socket, sent: bytes, bodies: list[bytes]
) -> None:
    connection.sendall(sent)
    connection.shutdown(socket.SHUT_WR)
    received = everything(connection)
    assert received.count(b"HTTP/1.1 200 OK") == len(bodies)
    for body in bodies:
        assert body in received


def test_half_a_request_is_not_answered(
    connection: socket.socket, application: Application
) -> None:
    connection.sendall(request("/echo", b"abc")[:-1])
    connection.shutdown(socket.SHUT_WR)
    assert hung_up(connection, within=5)


def test_a_half_close_while_it_is_answered(connection: socket.socket) -> None:
    connection.sendall(request("/dlr", b"abc"))
    connection.settimeout(0.02)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    connection.settimeout(10)
    connection.shutdown(socket.SHUT_WR)
    assert read_answer(connection).body == b"abc"
    assert hung_up(connection, within=5)


def test_http_1_0_is_answered_without_chunks(connection: socket.socket) -> None:
    connection.sendall(request("/stream", version="1.0"))
    head, _, body = everything(connection).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert body == b"one two three"


def test_http_1_0_with_a_length(connection: socket.socket) -> None:
    connection.sendall(request("/echo", b"abc", version="1.0"))
    head, _, body = everything(connection).partition(b"\r\n\r\n")
    assert b"content-length: 3" in head.lower()
    assert body == b"abc"


def test_http_1_1_is_answered_in_chunks(connection: socket.socket) -> None:
    connection.sendall(request("/stream"))
    received = b""
    while b"0\r\n\r\n" not in received:
        received += connection.recv(4096)
    assert b"4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n" in received


def test_who_reads_no_response_is_asked_nothing_more_and_hung_up_on(
    port: int, application: Application
) -> None:
    application.begun = 0
    connection = socket.socket()
    # The kernel would otherwise take megabytes of responses in before the server notices.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    connection.settimeout(STALLED / 2)
    with pytest.raises((TimeoutError, ConnectionError)):
        connection.sendall(request("/large") * 200_000)
    begun = -1
    while application.begun != begun:  # until its buffers are full, and then as long as it waits
        begun = application.begun
        time.sleep(3 * STALLED)
    with connection:
        assert hung_up(connection, within=10)
    assert 1 <= application.begun < 100


@pytest.mark.parametrize("path", ["/now", "/large", "/stream"])
def test_pipelined_requests_are_all_answered_in_turn(connection: socket.socket, path: str) -> None:
    sent = b"".join(request(path) for _ in range(30)) + request("/echo", b"the last")
    connection.sendall(sent)
    received = b""
    while not received.endswith(b"the last"):
        received += connection.recv(65536)
    assert received.count(b"HTTP/1.1 200 OK") == 31


REST = 3_200_000
"""Bytes of a body after its response: more than the kernel's buffers hold."""


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"], ids=["kept alive", "close"])
@pytest.mark.parametrize("pieces", [1, 8])
def test_who_writes_all_of_a_refused_body_gets_the_response(
    connection: socket.socket, more: str, pieces: int
) -> None:
    head = f"POST /now HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {REST}\r\n\r\n"
    connection.sendall(head.encode())
    for _ in range(pieces):
        time.sleep(0.02)
        connection.sendall(b"x" * (REST // pieces))
    assert read_answer(connection).status == 200
    if more:
        assert hung_up(connection, within=5)
    else:
        connection.sendall(request("/echo", b"abc"))
        assert read_answer(connection).body == b"abc"


def test_a_refused_body_without_an_end_is_not_read_for_ever(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request("/now")[:-2] + b"Connection: close\r\n")
        connection.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        started = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() < started + 10:
                connection.sendall(b"1\r\nx\r\n")
                time.sleep(0.02)
    assert time.monotonic() - started < 5
