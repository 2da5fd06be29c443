"""What an app runs to be told of events: it notes every call, and answers as a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from standardwebhooks import Webhook as Verifier

Json = dict[str, Any]


@dataclass
class Call:
    """One call as it came, and how it was answered."""

    path: str
    headers: dict[str, str]
    body: bytes
    came_at: float
    status: int = 0

    @property
    def payload(self) -> Json:
        read: Json = json.loads(self.body)
        return read

    @property
    def data(self) -> Json:
        read: Json = self.payload["data"]
        return read

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verify(self, secret: str) -> None:
        """By the specification's own library. Raises what that raises."""
        Verifier(secret).verify(self.body, self.headers)


@dataclass
class Answer:
    """Nothing is answered where ``hangs``: the caller has to give up."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    hangs: bool = False
    delay: float = 0.0  # seconds


OK = Answer()
Decide = Callable[[Call], Answer]


def always(answer: Answer) -> Decide:
    """Every call is answered alike."""
    return lambda _call: answer


@dataclass
class Receiver:
    """``decide`` says how each call is answered; ``url`` is where it is."""

    decide: Decide = lambda _call: OK
    calls: list[Call] = field(default_factory=list)
    url: str = ""
    most_at_once: int = 0
    _at_once: int = 0

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Callable[[], Any], send: Callable[..., Any]
    ) -> None:
        body = b""
        more = True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                return  # whoever called was killed before all of it had come
            body += event["body"]
            more = event["more_body"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        call = Call(scope["path"], headers, body, asyncio.get_running_loop().time())
        self.calls.append(call)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self._answer(call, receive, send)
        finally:
            self._at_once -= 1

    async def _answer(
        self, call: Call, receive: Callable[[], Any], send: Callable[..., Any]
    ) -> None:
        answer = self.decide(call)
        call.status = answer.status
        if answer.hangs:
            call.status = 0
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await asyncio.sleep(answer.delay)
        names = {b"content-length": str(len(answer.body)).encode()} | {
            name.encode(): value.encode() for name, value in answer.headers.items()
        }
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": [*names.items()]}
        )
        await send({"type": "http.response.body", "body": answer.body})

    @property
    def taken(self) -> list[Call]:
        """The calls that were answered with 2xx, in order."""
        return [call for call in self.calls if 200 <= call.status < 300]

    def statuses_of(self, message_id: object) -> list[str]:
        """What the taken calls tell of one message, repetitions left out."""
        seen = {
            c.id: c.data["status"] for c in self.taken if c.data["message_id"] == str(message_id)
        }
        return list(seen.values())

    async def until_called(self, count: int, *, patience: float = 15.0) -> None:
        """Wait for so many calls, taken or not."""
        deadline = asyncio.get_running_loop().time() + patience
        while len(self.calls) < count:
            assert asyncio.get_running_loop().time() < deadline, f"{len(self.calls)} calls"
            await asyncio.sleep(0.01)

    async def until(self, count: int, *, patience: float = 15.0) -> list[Call]:
        """The taken calls, as soon as so many different deliveries were."""
        deadline = asyncio.get_running_loop().time() + patience
        while len({call.id for call in self.taken}) < count:
            late = asyncio.get_running_loop().time() > deadline
            assert not late, f"{len(self.taken)} of {count} came; in all {len(self.calls)} calls"
            await asyncio.sleep(0.01)
        return self.taken


@asynccontextmanager
async def receiving(decide: Decide = lambda _call: OK, **config: Any) -> AsyncIterator[Receiver]:
    """A receiver that runs; ``config`` is uvicorn's."""
    receiver = Receiver(decide)
    options: dict[str, Any] = {"port": 0, "lifespan": "off", "log_config": None} | config
    server = uvicorn.Server(uvicorn.Config(receiver, timeout_graceful_shutdown=1, **options))
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "the receiver did not start"
        await asyncio.sleep(0.005)
    scheme = "https" if "ssl_certfile" in config else "http"
    port = server.servers[0].sockets[0].getsockname()[1]
    receiver.url = f"{scheme}://127.0.0.1:{port}/events"
    try:
        yield receiver
    finally:
        server.should_exit = True
        await task
