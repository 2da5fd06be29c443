"""Real servers on free loopback ports, and a caller that speaks iovox's XML to them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any

import httpx
import uvicorn
from defusedxml.ElementTree import fromstring

PATIENCE = 5.0
"""Seconds to wait for what must come; only a failing test waits that long."""

GOOD = {"origin": "447923221231", "destination": "447700900000", "message": "Hello there"}
CREDENTIALS = {"username": "someone", "secureKey": "a-key"}


@contextmanager
def running(server: uvicorn.Server) -> Iterator[str]:
    """Run the server in a thread; its base URL."""
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the server to start")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def wait_until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


@dataclass
class Call:
    """One receipt as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def fields(self) -> dict[str, str]:
        read: dict[str, str] = json.loads(self.body)
        return read


@dataclass
class Receiver:
    """Records receipts; ``answers`` is the status of its responses."""

    answers: int = 200
    calls: list[Call] = field(default_factory=list)
    url: str = ""

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Callable[[], Any], send: Callable[..., Any]
    ) -> None:
        body = b""
        more = True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.calls.append(Call(scope["method"], scope["path"], headers, body))
        await send({"type": "http.response.start", "status": self.answers, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def of(self, sms_activity_id: str) -> list[dict[str, str]]:
        came = [call.fields for call in self.calls]
        return [fields for fields in came if fields["sms_activity_id"] == sms_activity_id]


@dataclass
class Caller:
    """A client of the simulator at ``client.base_url``."""

    client: httpx.Client
    receiver: Receiver

    def send(self, **nodes: str | None) -> httpx.Response:
        """A good send with these nodes changed, or left out where they are None."""
        return self.post(request_xml(**{"callback_url": self.receiver.url, **nodes}))

    def post(self, body: bytes, url: str = "/SMS?v=3&method=sendSms") -> httpx.Response:
        return self.client.post(url, content=body, headers=CREDENTIALS)

    def behave(self, **knobs: object) -> None:
        self.client.post("/_simulator/behaviour", json=knobs).raise_for_status()

    def counts(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get("/_simulator/counts").json()
        return found

    def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.get("/_simulator/messages").json()["messages"]
        return found

    def settle(self) -> None:
        """Wait until every receipt that will come has come."""
        wait_until(lambda: self.counts()["pending"] == 0, "the last receipt")


def request_xml(**nodes: str | None) -> bytes:
    wanted = {**GOOD, **nodes}
    inner = "".join(
        f"<{name}>{escape(text)}</{name}>" for name, text in wanted.items() if text is not None
    )
    return f'<?xml version="1.0" encoding="utf-8"?>\n<request>{inner}</request>'.encode()


def errors_of(response: httpx.Response) -> list[str]:
    """The error texts; each one must repeat a status, the first one the response's own."""
    found = fromstring(response.content).findall("error")
    assert found[0].get("status") == str(response.status_code)
    return [error.text or "" for error in found]


def id_of(response: httpx.Response) -> str:
    assert response.status_code == 201, response.text
    return str(fromstring(response.content).findtext("sms_activity_id"))
