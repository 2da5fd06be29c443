"""A thousand open event streams in one process: its CPU and memory are not the service's.

Reads what to do as one line of JSON; opens the streams, posts receipts, notes when each stream has
each event; writes the result. The caller is the benchmark.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from array import array
from dataclasses import asdict, dataclass
from typing import Any

import uvloop

from bench import traffic
from bench.client import percentile
from tests.support.load import drive, get

AT_ONCE = 50
"""Streams being opened at a time."""
PATIENCE = 30.0
"""Seconds for a stream to open, and for the last event to reach everybody."""


@dataclass(frozen=True, slots=True)
class Listening:
    """``streams`` to open, ``events`` to bring about one by one, ``every`` so many seconds."""

    port: int
    key: str
    streams: int
    events: int
    every: float
    first: int


@dataclass(frozen=True, slots=True)
class Heard:
    """Seconds from a receipt's POST to its event at a stream. ``missing``: that never came."""

    arrivals: int
    missing: int
    p50: float
    p99: float
    longest: float


class Listener(asyncio.Protocol):
    """Does as little as it can: notes when an event comes."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.opened = asyncio.get_running_loop().create_future()
        self.arrivals = array("d")

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.opened.done() and b": connected" in data:
            self.opened.set_result(None)
        now = time.perf_counter()
        self.arrivals.extend([now] * data.count(b"\ndata: "))


async def listen(listening: Listening) -> Heard:
    """Open the streams, bring about events."""
    request = get("/v1/events/stream", {"Authorization": f"Bearer {listening.key}"})
    listeners: list[Listener] = []
    for start in range(0, listening.streams, AT_ONCE):
        count = min(AT_ONCE, listening.streams - start)
        listeners += await asyncio.gather(*(_open(listening, request) for _ in range(count)))
    posted = await _post_all(listening)
    await _until_all_came(listeners, len(posted))
    times = array("d")
    for each in listeners:
        times.extend(came - sent for sent, came in zip(posted, each.arrivals, strict=False))
        each.transport.abort()
    return Heard(
        arrivals=len(times),
        missing=len(posted) * len(listeners) - len(times),
        p50=percentile(times, 50),
        p99=percentile(times, 99),
        longest=max(times),
    )


async def _open(listening: Listening, request: bytes) -> Listener:
    loop = asyncio.get_running_loop()
    _, listener = await loop.create_connection(
        lambda: Listener(request), "127.0.0.1", listening.port
    )
    await asyncio.wait_for(listener.opened, PATIENCE)
    return listener


async def _post_all(listening: Listening) -> list[float]:
    """A receipt now and then, each of a message of its own; when each was posted."""
    posted: list[float] = []
    began = time.perf_counter()
    for number in range(listening.events):
        await asyncio.sleep(max(0.0, began + number * listening.every - time.perf_counter()))
        receipt = next(traffic.receipts(listening.first + number, 1))
        posted.append(time.perf_counter())
        result = await drive("127.0.0.1", listening.port, [receipt], 1)
        if set(result.statuses) != {200}:
            raise RuntimeError(f"a receipt was answered {result.statuses}, {result.errors}")
    return posted


async def _until_all_came(listeners: list[Listener], events: int) -> None:
    ends_at = time.perf_counter() + PATIENCE
    while any(len(each.arrivals) < events for each in listeners):
        if time.perf_counter() > ends_at:
            return
        await asyncio.sleep(0.05)


def main() -> None:
    """Do what standard input asks for."""
    listening = Listening(**json.loads(sys.stdin.readline()))
    gc.disable()
    print(json.dumps(asdict(uvloop.run(listen(listening)))))


if __name__ == "__main__":
    main()
