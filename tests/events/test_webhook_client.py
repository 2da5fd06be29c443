"""One call to a receiver that speaks HTTP badly, slowly, too much or not at all."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from aiohttp.abc import AbstractResolver

from app.parts.networks import read_networks
from app.webhooks.client import MAX_BODY, MAX_KEPT, DeliveryResult, WebhookClient
from app.webhooks.targets import Targets

from .name_servers import Answering, Silent

TIMEOUT = 0.5
LOOPBACK = "127.0.0.0/8"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Script:
    """A server that answers each request with these bytes, whatever they are; None closes."""

    answer: bytes | None
    port: int = 0
    connections: int = 0
    heads: list[str] = field(default_factory=list)
    open: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                await reader.readexactly(len(BODY))
                if self.answer is None:
                    break
                writer.write(self.answer)
                await writer.drain()
        writer.close()


BODY = b'{"type": "webhook.test"}'


@asynccontextmanager
async def scripted(answer: bytes | None) -> AsyncIterator[Script]:
    script = Script(answer)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        for writer in script.open:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def calling(
    resolver: AbstractResolver | None = None, *, patience: float = TIMEOUT
) -> AsyncIterator[WebhookClient]:
    targets = Targets(allow_http=True, allowed=read_networks(LOOPBACK), resolver=resolver)
    client = WebhookClient(targets=targets, timeout=patience, connections=4)
    try:
        yield client
    finally:
        await client.close()
        await targets.close()


async def call_twice(script: Script) -> list[DeliveryResult]:
    async with calling() as client:
        url = f"http://127.0.0.1:{script.port}/events"
        return [await client.post(url, {}, BODY) for _ in range(2)]


def response(status: str = "200 OK", body: bytes = b"ok", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


LARGE = response("200 OK", b"x" * 20 * MAX_BODY)
TAKEN, BROKEN = DeliveryResult(200, None), DeliveryResult(None, "the call broke off")
ANSWERED = DeliveryResult(200, None, response="ok")
CUT_OFF = DeliveryResult(200, None, response="x" * MAX_KEPT)
REDIRECTED = DeliveryResult(307, "it answered 307, and redirects are not followed")
# What is answered, what comes of two calls alike, and the connections that those need.
ANSWERS: dict[str, tuple[bytes | None, DeliveryResult, int]] = {
    "the connection is used again": (OK, ANSWERED, 1),
    "a body that is too large is dropped with its connection": (LARGE, CUT_OFF, 2),
    "a body without an end": (OK.replace(b"2\r\n", b"9999\r\n"), ANSWERED, 2),
    "a body that is compressed is not looked into": (
        response("200 OK", b"not gzip", "Content-Encoding: gzip"), TAKEN, 1,
    ),
    "a redirect": (response("307 Elsewhere", b"", "Location: /there"), REDIRECTED, 1),
    "Retry-After": (response("503 Busy", b"", "Retry-After: 7"),
                    DeliveryResult(503, "it answered 503", 7.0), 1),
    "Retry-After where it means nothing": (response("400 Bad", b"", "Retry-After: 7"),
                                           DeliveryResult(400, "it answered 400"), 1),
    "no answer": (None, BROKEN, 2),
    "not HTTP": (b"220 mail.example.com ESMTP\r\n\r\n", BROKEN, 2),
    "a head without an end": (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000, BROKEN, 2),
    "a thousand headers": (response("200 OK", b"", *["A: b"] * 1_000), BROKEN, 2),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
async def test_what_is_answered(case: str) -> None:
    answer, expected, connections = ANSWERS[case]
    async with scripted(answer) as script:
        results = await call_twice(script)
        assert results == [expected] * 2
        assert (script.connections, len(script.heads)) == (connections, 2)


async def test_nothing_is_kept_or_taken_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with scripted(response("200 OK", b"", "Set-Cookie: a=b")) as script:
        assert await call_twice(script) == [TAKEN] * 2
        for head in script.heads:
            names = [line.partition(":")[0].lower() for line in head.splitlines()[1:] if line]
            assert sorted(names) == ["content-length", "content-type", "host", "user-agent"]


async def test_what_was_missing_when_the_time_was_up() -> None:
    async with calling(Silent()) as client, scripted(b"") as script:
        silent = socket.create_server(
            ("127.0.0.1", 0)
        )  # takes connections, and says no word of TLS
        port, tls_port = script.port, silent.getsockname()[1]
        cases = {
            f"its name could not be resolved within {TIMEOUT} s": f"http://dead.test:{port}/",
            f"it could not be reached within {TIMEOUT} s": f"https://127.0.0.1:{tls_port}/",
            f"it did not answer within {TIMEOUT} s": f"http://live.test:{port}/",
        }
        with silent:
            found = {
                words: (await client.post(url, {}, BODY)).error for words, url in cases.items()
            }
    assert found == {words: words for words in cases}


async def test_calls_that_start_together_share_a_lookup() -> None:
    """Its one answer would not do for two, and is not kept for the next call."""
    async with scripted(OK) as script, calling(Answering(["127.0.0.1"], [])) as client:
        url = f"http://live.test:{script.port}/"
        together = await asyncio.gather(*(client.post(url, {}, BODY) for _ in range(3)))
        assert together == [ANSWERED] * 3
        assert script.connections == 3
    async with scripted(response("200 OK", b"", "Connection: close")) as script:
        url = f"http://live.test:{script.port}/"
        async with calling(Answering(["127.0.0.1"], [])) as client:
            results = [await client.post(url, {}, BODY) for _ in range(2)]
        assert [result.error for result in results] == [None, "its name could not be resolved"]


async def test_a_silent_address_does_not_hold_up_a_working_one() -> None:
    """Addresses are tried side by side: the time-out is not spent on the first one."""
    async with scripted(OK) as script:
        with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
            # A full backlog: connections to it stay unanswered, neither refused nor made.
            listener.bind(("127.0.0.2", script.port))
            listener.listen(0)
            for each in (first, second):
                each.setblocking(False)
                with suppress(BlockingIOError):
                    each.connect(("127.0.0.2", script.port))
            await asyncio.sleep(0.05)
            async with calling(Answering(["127.0.0.2", "127.0.0.1"]), patience=3) as client:
                began = asyncio.get_running_loop().time()
                result = await client.post(f"http://live.test:{script.port}/", {}, BODY)
                took = asyncio.get_running_loop().time() - began
    assert (result, script.connections) == (ANSWERED, 1)
    assert 0.2 < took < 1.5, "the silent one was not silent, or was waited for"
