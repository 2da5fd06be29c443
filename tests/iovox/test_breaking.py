"""A connection can break anywhere: what is said of the message is exact each time, and its request
is never repeated.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from app.errors import NotSent, OutcomeUnknown, SubmissionError
from app.iovox.client import IovoxClient
from app.iovox.tls import tls_context
from tests.iovox.certificates import Certificates
from tests.iovox.conftest import SUBMISSION
from tests.iovox.listening import close, flush, listening
from tests.iovox.scripted import ACCEPTED, ACTIVITY_ID, Scripted, errors, http, scripted

Make = Callable[..., IovoxClient]

BODY = ACCEPTED.encode()
CHUNKED = (
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (40, BODY[:40], len(BODY) - 40, BODY[40:])
)
UNBOUNDED = b"HTTP/1.1 201 Created\r\nContent-Type: application/xml\r\n\r\n" + BODY
BUSY = http(503, errors((503, "Busy")), Retry_After="7")


def after(answer: bytes, mark: bytes) -> int:
    return answer.index(mark) + len(mark)


# A response, the byte from which its outcome is certain, and that outcome.
WHOLE = http(201, ACCEPTED)
ANSWERS = {
    "with a length": (WHOLE, len(WHOLE), ACTIVITY_ID),
    "chunked": (CHUNKED, len(CHUNKED), ACTIVITY_ID),
    "to the end of the connection": (UNBOUNDED, after(UNBOUNDED, b"</response>"), ACTIVITY_ID),
    "a documented status": (BUSY, after(BUSY, b"\r\n\r\n"), NotSent),
}


async def outcome(client: IovoxClient) -> str | type[SubmissionError]:
    """The id, or the kind of error."""
    try:
        return await client.send(SUBMISSION)
    except SubmissionError as error:
        return type(error)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer_cut_at_any_byte(
    iovox: Scripted,
    make_client: Make,
    answer: tuple[bytes, int, str | type[SubmissionError]],
    how: str,
) -> None:
    written, enough, meaning = answer
    client = make_client(iovox.url)
    for size in range(len(written) + 1):

        async def cut(writer: asyncio.StreamWriter, size: int = size) -> None:
            writer.write(written[:size])
            await close(writer, how)

        iovox.answer = cut
        expected = meaning if size >= enough else OutcomeUnknown
        assert await outcome(client) == expected, f"cut after {size} bytes"
        assert len(iovox.bodies) == size + 1, "sent more than once"


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 201"], ids=["no answer", "part of one"])
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_connection_used_before_that_is_cut(
    iovox: Scripted, make_client: Make, how: str, first: bytes
) -> None:
    """HTTP libraries repeat a request that was lost on such a connection: not this one."""
    client = make_client(iovox.url)
    assert await outcome(client) == ACTIVITY_ID

    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await close(writer, how)

    iovox.answer = cut
    assert await outcome(client) is OutcomeUnknown
    assert (iovox.connections, len(iovox.bodies)) == (1, 2)


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_request_cut_at_any_byte(iovox: Scripted, make_client: Make, how: str) -> None:
    await make_client(iovox.url).send(SUBMISSION)
    size = len(iovox.heads[0].encode()) + len(iovox.bodies[0])
    requests = 0
    read = 0

    async def read_some(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += 1
        await reader.readexactly(read)
        await close(writer, how)

    async with listening(read_some) as port:
        client = make_client(f"http://127.0.0.1:{port}")
        for read in (*range(1, size, 5), size):
            requests = 0
            assert await outcome(client) is OutcomeUnknown, f"cut after {read} bytes"
            assert requests == 1, "sent more than once"


class Relay:
    """Carries bytes to a port and back, and breaks once ``limit`` bytes have come back."""

    def __init__(self, port: int, how: str) -> None:
        self._port = port
        self._how = how
        self.limit: int | None = None
        self.came_back = 0
        self.came_back_first = 0  # before the client said something for the second time

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.came_back = self.came_back_first = 0
        there = asyncio.create_task(self._carry_there(reader, behind_writer))
        try:
            while self.limit is None or self.came_back < self.limit:
                room = 65536 if self.limit is None else self.limit - self.came_back
                if not (data := await behind_reader.read(room)):
                    break
                self.came_back += len(data)
                writer.write(data)
            await close(writer, self._how)
        finally:
            there.cancel()
            behind_writer.transport.abort()

    async def _carry_there(
        self, reader: asyncio.StreamReader, behind: asyncio.StreamWriter
    ) -> None:
        times = 0
        while data := await reader.read(65536):
            times += 1
            if times == 2:
                self.came_back_first = self.came_back
            behind.write(data)
            await flush(behind)


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_tls_cut_at_any_byte(make_client: Make, certificates: Certificates, how: str) -> None:
    async with scripted(certificates.server_context()) as iovox:
        relay = Relay(int(iovox.url.rpartition(":")[2]), how)
        async with listening(relay.serve) as port:
            tls = tls_context(certificates.ca)

            async def once() -> str | type[SubmissionError]:
                client = make_client(f"https://127.0.0.1:{port}", tls=tls)
                came = await outcome(client)
                await client.aclose()
                return came

            assert await once() == ACTIVITY_ID
            handshake, whole = relay.came_back_first, relay.came_back
            assert 500 < handshake < whole
            edges = (handshake - 1, handshake + 1, whole - 1, whole)
            for relay.limit in sorted({*range(0, whole, 31), *edges}):
                iovox.bodies.clear()
                came = await once()
                where = f"cut after {relay.limit} of {handshake} and {whole} bytes"
                if relay.limit < handshake:
                    assert came is NotSent, where
                elif relay.limit > handshake:
                    assert came == (OutcomeUnknown if relay.limit < whole else ACTIVITY_ID), where
                assert len(iovox.bodies) <= (came is not NotSent), where


@pytest.mark.parametrize("size", range(0, 200, 20))
async def test_a_client_hello_that_is_cut_is_not_sent(make_client: Make, size: int) -> None:
    async def read_some(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(size)

    async with listening(read_some) as port:
        assert await outcome(make_client(f"https://127.0.0.1:{port}")) is NotSent


# What comes through an idle connection.


UNASKED = {
    "a second answer": http(201, ACCEPTED.replace("d454", "0000")),
    "a proxy that shuts down": http(503, "Service Unavailable"),
    "a proxy that has waited long enough": http(408, Connection="close"),
    "no HTTP": b"220 smtp ready\r\n",
}


@pytest.mark.parametrize("unasked", UNASKED.values(), ids=UNASKED.keys())
async def test_what_nobody_asked_for_is_no_answer_to_the_next_request(
    iovox: Scripted, make_client: Make, unasked: bytes
) -> None:
    async def twice(writer: asyncio.StreamWriter) -> None:
        writer.write(http(201, ACCEPTED))
        await asyncio.sleep(0.03)
        writer.write(unasked)
        await asyncio.sleep(5)

    client = make_client(iovox.url)
    iovox.answer = twice
    assert await client.send(SUBMISSION) == ACTIVITY_ID
    await asyncio.sleep(0.06)
    iovox.answer = http(201, ACCEPTED)
    assert await client.send(SUBMISSION) == ACTIVITY_ID
    assert iovox.connections == 2


async def test_a_connection_idle_for_too_long_is_not_used_again(
    iovox: Scripted, make_client: Make
) -> None:
    client = make_client(iovox.url)
    await client.send(SUBMISSION)
    await asyncio.sleep(2.1)
    await client.send(SUBMISSION)
    assert iovox.connections == 2


@contextmanager
def in_a_thread() -> Iterator[tuple[int, threading.Event]]:
    """A server that answers one request on each connection and closes when the event is set."""
    hang_up = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                try:
                    connection, _address = listener.accept()
                except TimeoutError:
                    return
                with connection:
                    data = b""
                    while not data.endswith(b"</request>"):
                        data += connection.recv(65536) or b"</request>"
                    connection.sendall(http(201, ACCEPTED))
                    hang_up.wait(5)

        listener.settimeout(5)  # where no second connection comes, the test has failed
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], hang_up
        finally:
            thread.join()


async def test_a_close_that_the_loop_has_not_read_yet(make_client: Make) -> None:
    with in_a_thread() as (port, hang_up):
        client = make_client(f"http://127.0.0.1:{port}")
        assert await client.send(SUBMISSION) == ACTIVITY_ID
        hang_up.set()
        time.sleep(0.1)  # noqa: ASYNC251  a busy event loop
        assert await client.send(SUBMISSION) == ACTIVITY_ID


async def test_closing_ends_what_is_under_way(iovox: Scripted, make_client: Make) -> None:
    async def hang(_writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    iovox.answer = hang
    client = make_client(iovox.url, max_connections=1)
    written = asyncio.create_task(outcome(client))
    waiting = asyncio.create_task(outcome(client))
    while not iovox.bodies:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await client.aclose()
    assert await written is OutcomeUnknown
    assert await waiting is NotSent
    assert await outcome(client) is NotSent


async def test_a_client_that_was_never_used_is_closed(make_client: Make) -> None:
    client = make_client("https://iovox.invalid", tls=ssl.create_default_context())
    await client.aclose()
    assert await outcome(client) is NotSent


async def test_endless_headers(iovox: Scripted, make_client: Make) -> None:
    written = 0

    async def pour(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 201 Created\r\n")
        while written < 50_000_000:
            writer.write(b"X-Header: of no use\r\n" * 1000)
            written += 20_000
            await writer.drain()

    iovox.answer = pour
    with pytest.raises(OutcomeUnknown, match="connection failed"):  # and not for want of time
        await make_client(iovox.url).send(SUBMISSION)
    assert written < 50_000_000
