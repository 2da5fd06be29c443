"""Nobody holds up `/dlr`: not by requests whose responses stay unread, nor by bodies of faults."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.receive.serving import AUTH_HEADER, SECRET, Service, body, serving_a_copy

IS_LONG = "DLR_TEST_LONG" in os.environ
CONNECTIONS = 150 if IS_LONG else 60
UNFINISHED = 300 if IS_LONG else 40
PIPELINED = 50
PATHS = ("/openapi.json", "/healthz", "/docs", "/metrics")
SENDERS = 20
PAUSE = 0.1
"""Seconds between the receipts of one sender: 200 receipts/s of all."""
WORST = 0.5
"""Seconds that a receipt may take at most."""
NOISE = 20
"""A machine that is busy with other tests is slow by itself: times the slowest of a calm second."""

MESSAGE = {"origin": "447923221231", "destination": "x", "message": "hello"}
ROUTES = ("/v1/messages", "/v1/messages/batch", "/v1/messages/lookup", "/v1/webhooks")


def bodies_of_faults() -> list[tuple[str, str]]:
    """With their paths; not at import, as they take each test process a second."""
    unknown = {f"unknown_{number}": 1 for number in range(200_000)}
    return [
        *((path, json.dumps(unknown)) for path in (ROUTES if IS_LONG else ROUTES[:2])),
        ("/v1/messages", json.dumps(dict(list(unknown.items())[:3_000]))),
        ("/v1/webhooks", json.dumps({"url": "x", "statuses": ["x"] * 12_000})),
        ("/v1/messages/lookup", json.dumps({"ids": [1] * 170_000})),
        ("/v1/messages/batch", json.dumps({"messages": [MESSAGE], **unknown})),
        ("/v1/messages/batch", json.dumps({"messages": [MESSAGE | {"a": 1, "b": 2}] * 1_000})),
    ]


@pytest.fixture(scope="module")
def service(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving_a_copy(sqlite_template, tmp_path_factory.mktemp("held")) as running:
        yield running


class Receipts:
    """Sends receipts, and notes how many seconds each took to be answered 200."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._seconds: list[float] = []

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._send(number)) for number in range(SENDERS)]
            yield
            for task in tasks:
                task.cancel()

    def take(self) -> list[float]:
        """The times since this was asked last, in order of size."""
        taken, self._seconds = sorted(self._seconds), []
        return taken

    async def _send(self, sender: int) -> None:
        reader, writer = await asyncio.open_connection(*self._service.address)
        try:
            await self._send_all(sender, reader, writer)
        finally:
            writer.close()

    async def _send_all(
        self, sender: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        sent = 0
        while True:
            sent += 1
            content = body(f"{sender}-{sent}", "DELIVERED")
            head = f"POST /dlr HTTP/1.1\r\nHost: x\r\n{AUTH_HEADER}: {SECRET}\r\n"
            started = time.monotonic()
            writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            answer = await reader.readuntil(b"\r\n\r\n")
            self._seconds.append(time.monotonic() - started)
            assert answer.startswith(b"HTTP/1.1 200")
            await asyncio.sleep(PAUSE)


async def never_read(service: Service, path: str) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection(*service.address)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * PIPELINED)
    return writer


async def post(service: Service, key: str, path: str, content: str) -> bytes:
    reader, writer = await asyncio.open_connection(*service.address)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n"
    )
    writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n{content}".encode())
    answer = await reader.read()
    writer.close()
    return answer


async def test_receipts_are_taken_all_the_while(service: Service) -> None:
    key, bodies = service.key("admin"), bodies_of_faults()
    before = len(service.process.output())
    receipts = Receipts(service)
    async with receipts.sending():
        await asyncio.sleep(1)
        calm = receipts.take()
        bound = max(WORST, NOISE * calm[-1])
        rude = [await never_read(service, PATHS[n % 4]) for n in range(CONNECTIONS)]
        await asyncio.sleep(2)
        for writer in rude:
            writer.transport.abort()
        piped = receipts.take()
        for path, content in bodies:
            answers = await asyncio.gather(*(post(service, key, path, content) for _ in range(4)))
            for answer in answers:
                assert answer[9:12] in (b"413", b"422", b"202")
                assert len(answer) < 200_000
        await asyncio.sleep(0.5)
        faulty = receipts.take()
    assert len(piped) > SENDERS
    assert len(faulty) > SENDERS
    assert piped[-1] <= bound
    assert faulty[-1] <= bound
    assert len(service.process.output()) - before < 10_000


async def test_bodies_under_way_take_a_bounded_amount_of_memory(service: Service) -> None:
    key = service.key("send")
    head = "POST /v1/messages/batch HTTP/1.1\r\nHost: x\r\n"
    head += f"Authorization: Bearer {key}\r\nContent-Length: 4000000\r\n\r\n"
    before = service.process.peak_memory_bytes()

    async def begin() -> bytes:
        reader, writer = await asyncio.open_connection(*service.address)
        writer.write(head.encode() + b" " * 3_900_000)
        try:
            async with asyncio.timeout(3):
                return await reader.readline()
        except (TimeoutError, ConnectionError):
            return b""
        finally:
            writer.transport.abort()

    answers = await asyncio.gather(*(begin() for _ in range(UNFINISHED)))
    assert b"HTTP/1.1 429 Too Many Requests\r\n" in answers
    assert service.process.peak_memory_bytes() - before < 80_000_000
