"""A load over many keep-alive connections, where each request differs and each answer is checked.

Made to cost little: the client shares the machine with the server that it measures. Requests are
bytes built beforehand (``post``); of an answer only the status and the length are read.
"""

import asyncio
import time
from array import array
from collections import Counter, deque
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

OnAnswer = Callable[[int, int, float], None]
OnBody = Callable[[int, bytes], None]
HEAD_END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"
CHUNKED = b"\r\ntransfer-encoding: chunked"
CLOSES = b"\r\nconnection: close"
BODILESS = {204, 304}
WATCH_SECONDS = 0.1
RECONNECT_SECONDS = 0.05
TICK = 0.001
"""Seconds: a shorter wait is none at all, as uvloop's timers have whole milliseconds."""


@dataclass(slots=True)
class Result:
    """The result of a load. Times are seconds from a request's last byte to its response."""

    requests_per_second: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    seconds: float = 0.0
    answers: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)  # requests without an answer, by why


def post(path: str, headers: Mapping[str, str], body: bytes, *, host: str = "127.0.0.1") -> bytes:
    """A POST as it goes over the wire."""
    return request("POST", path, headers, body, host=host)


def get(path: str, headers: Mapping[str, str] | None = None, *, host: str = "127.0.0.1") -> bytes:
    """A GET as it goes over the wire."""
    return request("GET", path, headers or {}, host=host)


def request(
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes | None = None,
    *,
    host: str = "127.0.0.1",
) -> bytes:
    """Any request as it goes over the wire, with its Content-Length where it has a body."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + HEAD_END + (body or b"")


async def drive(
    host: str,
    port: int,
    requests: Iterable[bytes] | AsyncIterable[bytes],
    connections: int,
    on_answer: OnAnswer | None = None,
    *,
    on_body: OnBody | None = None,
    reconnect: bool = False,
    give_up_after: float = 30.0,
    patience: float = 30.0,
    spread: float = 0.0,
) -> Result:
    """Sends each request once, one at a time on each connection, and counts what comes back.

    An iterable is drawn from as fast as answers come; an async one sets its own pace. A request
    whose connection breaks, or that has no answer after ``give_up_after`` seconds, counts in
    ``errors`` and is never sent again. With ``reconnect`` its connection is made anew,
    tried for up to ``patience`` seconds; without, it is not, and what nobody is left to send counts
    as "not sent". Of an iterable, the connections take their first requests within ``spread``
    seconds, one after the other: where an answer always takes the same time, connections that start
    together stay together.
    """
    load = _Load(host, port, on_answer, on_body, reconnect=reconnect, patience=patience)
    return await load.run(requests, connections, give_up_after, spread)


class _Load:
    def __init__(
        self,
        host: str,
        port: int,
        on_answer: OnAnswer | None,
        on_body: OnBody | None,
        *,
        reconnect: bool,
        patience: float,
    ) -> None:
        self.address = (host, port)
        self.on_answer = on_answer
        self.on_body = on_body
        self.reconnect = reconnect
        self.patience = patience
        self.source: Iterator[tuple[int, bytes]] = iter(())
        self.result = Result()
        self.latencies = array("d")
        self.idle: deque[_Connection] = deque()
        self.open: set[_Connection] = set()
        self.reaching: set[asyncio.Task[None]] = set()
        self.changed = asyncio.Event()  # a connection is idle, or gone
        self.feeding = False
        self.exhausted = False
        self.failure: Exception | None = None

    async def run(
        self,
        requests: Iterable[bytes] | AsyncIterable[bytes],
        connections: int,
        give_up_after: float,
        spread: float,
    ) -> Result:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, made = await loop.create_connection(lambda: _Connection(self), *self.address)
            self.idle.append(made)
        watch = loop.create_task(self._watch(give_up_after))
        started = time.perf_counter()
        try:
            if isinstance(requests, AsyncIterable):
                await self._feed(requests)
            else:
                self.source = enumerate(requests)
                busy = 0
                while self.idle and self._next(self.idle.popleft()):
                    busy += 1
                    ahead = started + busy * spread / connections - time.perf_counter()
                    if ahead >= TICK:
                        await asyncio.sleep(ahead)
            while not self.failure and self._waits():
                await self._change()
            if self.failure:
                raise self.failure
            seconds = time.perf_counter() - started
            self.result.errors.update({"not sent": left} if (left := self._left()) else {})
        finally:
            await self._close(watch)
        return self._summary(seconds)

    def failed(self, error: Exception) -> None:
        """A failed check of the caller's, or a response that is not HTTP: it ends the load."""
        self.failure = self.failure or error
        self.changed.set()

    def ready(self, connection: "_Connection") -> None:
        """The connection is free: it takes the next request at once where there is one."""
        if self.feeding:
            self.idle.append(connection)
            self.changed.set()
        elif not self._next(connection):
            self.changed.set()

    def answered(self, connection: "_Connection", status: int, body: bytes) -> None:
        seconds = time.perf_counter() - connection.sent_at
        self.latencies.append(seconds)
        self.result.statuses[status] += 1
        if self.on_answer is not None:
            self.on_answer(connection.index, status, seconds)
        if self.on_body is not None:
            self.on_body(connection.index, body)

    def lost(self, connection: "_Connection", why: str) -> None:
        self.open.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if connection.busy:
            self.result.errors[why] += 1
        if (self.reconnect or connection.told_to_close) and not self.exhausted:
            task = asyncio.get_running_loop().create_task(
                self._reach(at_once=connection.told_to_close)
            )
            self.reaching.add(task)
            task.add_done_callback(self._reached)
        self.changed.set()

    def _next(self, connection: "_Connection") -> bool:
        try:
            index, data = next(self.source)
        except StopIteration:
            self.exhausted = True
            return False
        connection.send(index, data)
        return True

    async def _feed(self, requests: AsyncIterable[bytes]) -> None:
        self.feeding = True
        index = -1
        async for data in requests:
            index += 1
            while not self.failure and not self.idle and (self.open or self.reaching):
                await self._change()
            if self.idle:
                self.idle.popleft().send(index, data)
            else:
                self.result.errors["not sent"] += 1
        self.exhausted = True

    async def _reach(self, *, at_once: bool) -> None:
        if not at_once:
            await asyncio.sleep(RECONNECT_SECONDS)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience
        while True:
            try:
                _, made = await loop.create_connection(lambda: _Connection(self), *self.address)
            except OSError:
                if loop.time() > deadline:
                    return
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                self.ready(made)
                return

    def _reached(self, task: asyncio.Task[None]) -> None:
        self.reaching.discard(task)
        self.changed.set()

    def _waits(self) -> bool:
        busy = any(each.busy for each in self.open)
        return busy or (bool(self.reaching) and not self.exhausted)

    async def _change(self) -> None:
        self.changed.clear()
        await self.changed.wait()

    async def _watch(self, give_up_after: float) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            late = time.perf_counter() - give_up_after
            for connection in [each for each in self.open if each.busy and each.sent_at < late]:
                connection.give_up("time-out")

    def _left(self) -> int:
        return sum(1 for _ in self.source)

    async def _close(self, watch: asyncio.Task[None]) -> None:
        self.exhausted = True
        tasks = [watch, *self.reaching]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self.open:  # until the event loop has told each that it is closed
            for connection in self.open:
                connection.give_up("stopped")
            await asyncio.sleep(0)

    def _summary(self, seconds: float) -> Result:
        times = sorted(self.latencies)
        result = self.result
        result.seconds = seconds
        result.answers = len(times)
        result.requests_per_second = len(times) / seconds if seconds else 0.0
        if times:
            result.p50 = times[len(times) // 2]
            result.p99 = times[min(len(times) - 1, len(times) * 99 // 100)]
        return result


class _Connection(asyncio.Protocol):
    def __init__(self, load: _Load) -> None:
        self.load = load
        self.busy = False
        self.told_to_close = False
        self.index = -1
        self.sent_at = 0.0
        self._why = "connection cut"
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.load.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.load.lost(self, self._why)

    def send(self, index: int, data: bytes) -> None:
        self.busy = True
        self.index = index
        self.transport.write(data)
        self.sent_at = time.perf_counter()

    def give_up(self, why: str) -> None:
        self._why = why
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._take(data)
        except Exception as error:  # noqa: BLE001  # raised again to the caller of drive()
            self.load.failed(error)

    def _take(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        end = data.find(HEAD_END)
        if end < 0:
            self._received = data
            return
        head = data[:end].lower()
        status = int(head[9:12])
        body = _body(head, status, data, end + len(HEAD_END))
        if body is None:
            self._received = data
            return
        self._received = b""
        self.busy = False
        self.load.answered(self, status, body)
        if CLOSES in head:
            self.told_to_close = True
            self.transport.close()
        else:
            self.load.ready(self)


def _body(head: bytes, status: int, data: bytes, start: int) -> bytes | None:
    """The body once it is whole, else None."""
    at = head.find(LENGTH)
    if at >= 0:
        line_end = head.find(b"\r\n", at + 2)
        length = int(head[at + len(LENGTH) : line_end if line_end > 0 else None])
        return data[start : start + length] if len(data) >= start + length else None
    if CHUNKED not in head or status in BODILESS:
        return b""
    return _chunks(data, start)


def _chunks(data: bytes, start: int) -> bytes | None:
    body = b""
    while (line_end := data.find(b"\r\n", start)) > 0:
        size = int(data[start:line_end].split(b";")[0], 16)
        start = line_end + 2
        if len(data) < start + size + 2:
            return None
        if not size:
            return body
        body += data[start : start + size]
        start += size + 2
    return None
