"""A reader of server-sent events, as the HTML standard says one has to read."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx

Json = dict[str, Any]


class Reader:
    """``events`` are the data of what was dispatched; ``last_id`` what a reconnect would send."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.events: list[Json] = []
        self.comments: list[str] = []
        self.last_id = ""
        self.has_ended = False
        self.opened = asyncio.Event()  # its first block has come
        self._data: list[str] = []
        self._id = ""

    async def read(self) -> None:
        async for line in self.response.aiter_lines():
            self._take(line)
        self.has_ended = True

    def _take(self, line: str) -> None:
        if line == "":
            self.last_id = self._id or self.last_id
            self.opened.set()
            if self._data:
                event = json.loads("\n".join(self._data))
                assert event["id"] == self.last_id
                self.events.append(event)
            self._data, self._id = [], ""
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "":
            self.comments.append(value)
        elif name == "data":
            self._data.append(value)
        elif name == "id":
            self._id = value

    async def until(self, count: int, *, patience: float = 10.0) -> list[Json]:
        """The events, as soon as there are so many."""
        deadline = asyncio.get_running_loop().time() + patience
        while len(self.events) < count:
            late = asyncio.get_running_loop().time() > deadline
            assert not late, f"{len(self.events)} of {count} events came"
            await asyncio.sleep(0.02)
        return self.events


@asynccontextmanager
async def listening(
    client: httpx.AsyncClient, headers: dict[str, str], **query: str | list[str]
) -> AsyncIterator[Reader]:
    """An open stream that is being read."""
    async with client.stream(
        "GET", "/v1/events/stream", headers=headers, params=query, timeout=60
    ) as response:
        assert response.status_code == 200, await response.aread()
        reader = Reader(response)
        task = asyncio.create_task(reader.read())
        try:
            opened = asyncio.create_task(reader.opened.wait())
            await asyncio.wait({opened, task}, return_when=asyncio.FIRST_COMPLETED)
            opened.cancel()
            yield reader
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@contextmanager
def slow_reader(url: httpx.URL, headers: dict[str, str]) -> Iterator[socket.socket]:
    """An open stream that nobody reads, with as little room for it as a system gives."""
    lines = [f"{name}: {value}" for name, value in (headers | {"Host": "x"}).items()]
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect((url.host, url.port))
        slow.sendall("\r\n".join(["GET /v1/events/stream HTTP/1.1", *lines, "", ""]).encode())
        yield slow
