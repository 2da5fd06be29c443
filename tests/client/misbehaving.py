"""Servers that never come to an end: each takes a request and then does what its name says."""

from __future__ import annotations

import socketserver
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

EVERY = 0.02
"""Seconds between the bytes of a server that drips: no read ever waits longer."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

Speak = Callable[[Any, Event], None]


@contextmanager
def server(speak: Speak) -> Iterator[str]:
    """What it does once it has read a request, until it is told that the test is over."""
    over = Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while not over.is_set() and self.request.recv(65_536):
                try:
                    speak(self.request, over)
                except OSError:
                    return  # the client has hung up, as it should

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as listening:
        thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}"
        finally:
            over.set()
            listening.shutdown()
            thread.join()


def drip(connection: Any, over: Event, piece: bytes) -> None:
    while not over.wait(EVERY):
        connection.sendall(piece)


def silent(_: Any, over: Event) -> None:
    over.wait()


def drips_headers(connection: Any, over: Event) -> None:
    connection.sendall(HEAD + b"X-Slow: ")
    drip(connection, over, b"x")


def drips_a_body(connection: Any, over: Event) -> None:
    connection.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n")
    drip(connection, over, b" ")


def drips_chunks(connection: Any, over: Event) -> None:
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    drip(connection, over, b"1\r\n \r\n")


def hangs_up(connection: Any, _: Event) -> None:
    connection.close()


def is_busy(connection: Any, _: Event) -> None:
    connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
