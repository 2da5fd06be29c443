"""An iovox whose timing is ours: it answers, posts receipts before, during or after that, and hangs
up instead of answering. Seeded, so that a run that failed can be run again.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from tests.receive.serving import CALLBACK_HEADERS
from tests.support import load
from tests.support.ports import free_port

_NUMBER = re.compile(rb"<message>number (\d+)</message>")
_NAME = re.compile(rb"X-Message-Id: ([0-9a-f-]{36})")
_ACCEPTED = '<?xml version="1.0"?><response><sms_activity_id>{}</sms_activity_id></response>'

Step = tuple[str, int]
"""A receipt: its status, and its second after noon."""


@dataclass(frozen=True)
class Plan:
    """What is to happen to one message."""

    number: int
    sms_activity_id: str
    steps: tuple[Step, ...]
    when: str  # the receipts come "before", "during" or "after" the answer, or all "together"
    is_named: bool  # by X-Message-Id, on one of the two copies of each receipt
    is_lost: bool  # the answer
    status: str  # what it all adds up to


ENDS: list[tuple[str, tuple[Step, ...]]] = [
    ("DELIVERED", (("ACKNOWLEDGED", 1), ("DELIVERED", 1))),
    ("DELIVERED", (("ACKNOWLEDGED", 1), ("BUFFERED", 2), ("DELIVERED", 3))),
    ("FAILED", (("ACKNOWLEDGED", 1), ("FAILED", 2))),
    ("DELIVERED", (("DELIVERED", 3), ("FAILED", 9))),
    ("BUFFERED", (("ACKNOWLEDGED", 1), ("BUFFERED", 2))),
]


def plans(count: int, together: int, chance: random.Random) -> list[Plan]:
    """A third each before, during and after; a third named; a seventh lost, all of them named.

    The answers to the last ones are all lost at one instant, and then their receipts come.
    """
    made = []
    for number in range(count):
        is_last = number >= count - together
        is_lost = is_last or number % 7 == 0
        status, steps = ENDS[number % len(ENDS)]
        made.append(
            Plan(
                number=number,
                sms_activity_id=f"{chance.getrandbits(64):016x}-{number}",
                steps=steps,
                when="together" if is_last else chance.choice(["before", "during", "after"]),
                is_named=is_lost or chance.randrange(3) == 0,
                is_lost=is_lost,
                status=status,
            )
        )
    return made


class Posts:
    """Connections to one server, each with one call at a time; ``statuses`` counts the answers."""

    def __init__(self, port: int, *, connections: int) -> None:
        self._port = port
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
            asyncio.Queue()
        )
        self._connections = connections

        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        for _ in range(self._connections):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._writers.append(writer)
            self._free.put_nowait((reader, writer))
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)

    async def post(self, call: bytes) -> int:
        """The status of the answer, which has no body where all is well."""
        reader, writer = await self._free.get()
        writer.write(call)
        head = await reader.readuntil(b"\r\n\r\n")
        self._free.put_nowait((reader, writer))
        return int(head[9:12])


@dataclass
class FakeIovox:
    """Give its ``url`` to the servers, then ``posts`` to it, one for each of them."""

    plans: Sequence[Plan]
    chance: random.Random
    posts: list[Posts] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    calls: int = 0
    refused: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._last = asyncio.Barrier(sum(plan.when == "together" for plan in self.plans) or 1)
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)

    async def finish(self) -> None:
        """Return when every receipt that is under way has its answer."""
        await asyncio.gather(*(task for task in self._tasks if task.get_name() == "receipts"))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
                await self._take(await reader.readexactly(length), writer)
        writer.close()

    async def _take(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        number, name = _NUMBER.search(request), _NAME.search(request)
        assert number is not None
        assert name is not None
        plan = self.plans[int(number[1])]
        self.asked.append(plan.number)
        receipts = self._receipts(plan, name[1].decode())
        if plan.when == "together":
            await self._last.wait()
        elif plan.when == "before":
            await receipts
        elif plan.when == "during":
            self._start(receipts)
            await asyncio.sleep(self.chance.random() * 0.01)
        if plan.is_lost:
            writer.transport.abort()
        else:
            xml = _ACCEPTED.format(plan.sms_activity_id).encode()
            head = f"HTTP/1.1 201 Created\r\nContent-Length: {len(xml)}\r\n\r\n"
            writer.write(head.encode() + xml)
        if plan.when in ("after", "together"):
            self._start(receipts)

    def _start(self, receipts: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(receipts, name="receipts"))

    async def _receipts(self, plan: Plan, name: str) -> None:
        """Every receipt twice, the copies to different servers, in any order."""
        calls = []
        for step in plan.steps:
            servers = self.chance.sample(range(2), 2)
            named = self.chance.randrange(2) if plan.is_named else None
            calls += [
                (server, receipt(plan, step, name if copy == named else None))
                for copy, server in enumerate(servers)
            ]
        self.chance.shuffle(calls)
        await asyncio.gather(*(self._post(*call) for call in calls))

    async def _post(self, server: int, call: bytes) -> None:
        await asyncio.sleep(self.chance.random() * 0.01)
        self.calls += 1
        status = await self.posts[server].post(call)
        if status != 200:
            self.refused.append(status)


def receipt(plan: Plan, step: Step, name: str | None = None) -> bytes:
    """The call that tells one step, as it goes over the wire."""
    status, second = step
    body = {
        "sms_activity_id": plan.sms_activity_id,
        "delivery_status": status.lower(),
        "status_reason": "1",
        "receipt_timestamp": f"2020-05-06 12:{second // 60:02}:{second % 60:02}",
        "status": status,
    }
    headers = {**CALLBACK_HEADERS, "Content-Type": "application/json"}
    if name is not None:
        headers["X-Message-Id"] = name
    return load.post("/dlr", headers, json.dumps(body).encode())
