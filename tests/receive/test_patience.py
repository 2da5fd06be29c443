"""A client that sends half a body and hangs holds a connection no longer than a bound.

Strangers, who are answered before their body, are bounded by the protocol: see
tests/server/test_protocol.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.receive.serving import AUTH_HEADER, SECRET, Service, body, hung_up, read_answer, serve
from tests.support import load

BOUND = 0.5
LOOKS_AND_MORE = 2.0
"""Seconds beyond the bound: bodies are looked at twice a second, on a machine that does more."""

TODAYS = f"{AUTH_HEADER}: {SECRET}\r\n"
GOOD = load.post("/dlr", {AUTH_HEADER: SECRET}, body("it", "DELIVERED"))


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that waits half a second for a body."""
    file = tmp_path_factory.mktemp("hasty") / "dlr.db"
    running = serve(f"sqlite:///{file}", DLR_BODY_TIMEOUT=str(BOUND))
    yield running
    running.process.close()


def head(secret: str, length: str) -> bytes:
    return f"POST /dlr HTTP/1.1\r\nHost: x\r\n{secret}{length}\r\n\r\n".encode()


HANGING = [
    ("half a body", head(TODAYS, "Content-Length: 100") + b'{"sms_'),
    ("nothing of it", head(TODAYS, "Content-Length: 100")),
    ("half a chunk", head(TODAYS, "Transfer-Encoding: chunked") + b'10\r\n{"sms_'),
    ("no last chunk", head(TODAYS, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n"),
]
AT_ONCE = [
    ("a part of too much", head(TODAYS, "Content-Length: 900000") + b"x" * 70_000, 413),
    ("the announcement of too much", head(TODAYS, "Content-Length: 65537"), 413),
    ("half, of a stranger", head("", "Content-Length: 100") + b'{"sms_', 401),
    ("nothing, of a stranger", head("", "Content-Length: 100"), 401),
    ("a chunk, of a stranger", head("", "Transfer-Encoding: chunked") + b"2\r\n{}\r\n", 401),
]


@pytest.mark.parametrize("sent", [pytest.param(row[1], id=row[0]) for row in HANGING])
def test_hanging(hasty: Service, sent: bytes) -> None:
    with hasty.connect() as connection:
        connection.sendall(sent)
        answer = read_answer(connection)
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert hung_up(connection, within=LOOKS_AND_MORE)


@pytest.mark.parametrize(("sent", "status"), [pytest.param(*row[1:], id=row[0]) for row in AT_ONCE])
def test_what_is_refused_at_once(hasty: Service, sent: bytes, status: int) -> None:
    with hasty.connect() as connection:
        connection.sendall(sent)
        assert read_answer(connection).status == status, "whoever waited would say 408"


def test_a_byte_now_and_then_does_not_help(hasty: Service) -> None:
    started = time.monotonic()
    with hasty.connect() as connection:
        connection.sendall(head(TODAYS, "Content-Length: 10000"))
        with suppress(ConnectionError):
            while time.monotonic() - started < BOUND + LOOKS_AND_MORE:
                connection.sendall(b"x")
                if hung_up(connection, within=0.05):
                    break
        assert time.monotonic() - started < BOUND + LOOKS_AND_MORE


def test_the_others_are_served_meanwhile(hasty: Service) -> None:
    hanging = [hasty.connect() for _ in range(50)]
    for connection in hanging:
        connection.sendall(head(TODAYS, "Content-Length: 100") + b"{")
    with hasty.connect() as connection:
        connection.sendall(GOOD)
        assert read_answer(connection).status == 200
    for connection in hanging:
        assert read_answer(connection).status == 408
        connection.close()


def test_slow_but_whole_is_fine(hasty: Service) -> None:
    with hasty.connect() as connection:
        for start in range(0, len(GOOD), 100):
            connection.sendall(GOOD[start : start + 100])
            time.sleep(0.02)
        assert read_answer(connection).status == 200
