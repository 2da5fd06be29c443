"""The service as users run it, over PostgreSQL, with the simulator in a process of its own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from tests.cli.running import make_key
from tests.send.world import HELLO, SECRET
from tests.support.load import post
from tests.support.ports import free_port
from tests.support.process import ServerProcess

LONG = bool(os.environ.get("DLR_TEST_LONG"))
"""Whether to test the promised durations and numbers in full, or a part of them."""


@dataclass
class Stage:
    """Servers with one database. All of them end with the test."""

    stack: ExitStack
    env: dict[str, str]
    simulator: httpx.Client
    key: str = ""
    ports: list[int] = field(default_factory=list)

    def start(self, *args: str, **settings: str) -> ServerProcess:
        """Start a replica; its port is appended to ``ports``."""
        port = free_port()
        self.ports.append(port)
        return self.restart(port, *args, **settings)

    def restart(self, port: int, *args: str, **settings: str) -> ServerProcess:
        """Start a replica on a port that is free again."""
        env = {**self.env, "DLR_PUBLIC_URL": f"http://127.0.0.1:{port}", **settings}
        # What is preloaded is loaded by a start alone.
        make = ServerProcess.start if "LD_PRELOAD" in env else ServerProcess.fork
        server = make(
            ["serve", "--port", str(port), *args], env, f"http://127.0.0.1:{port}/healthz"
        )
        return self.stack.enter_context(server)

    def start_worker(self, **settings: str) -> ServerProcess:
        return self.stack.enter_context(ServerProcess.fork(["worker"], {**self.env, **settings}))

    def request(self, fields: dict[str, object] | None = None, **headers: str) -> bytes:
        body = json.dumps(fields or HELLO).encode()
        return post("/v1/messages", self.headers | headers, body)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}

    def queue(self, count: int, port: int | None = None) -> list[str]:
        """Queue so many messages; returns their ids."""
        ids: list[str] = []
        with httpx.Client(trust_env=False, timeout=60) as client:
            while len(ids) < count:
                batch = {"messages": [HELLO] * min(1000, count - len(ids))}
                url = f"http://127.0.0.1:{port or self.ports[0]}/v1/messages/batch"
                response = client.post(url, json=batch, headers=self.headers)
                ids += [item["id"] for item in response.json()["messages"]]
        return ids

    def behave(self, **knobs: object) -> None:
        self.simulator.post("/_simulator/behaviour", json=knobs).raise_for_status()

    def counts(self) -> dict[str, Any]:
        found: dict[str, Any] = self.simulator.get("/_simulator/counts").json()
        return found

    def accepted(self) -> int:
        brief: dict[str, int] = self.simulator.get("/_simulator/counts?brief").json()
        return brief["accepted"]

    def has(self, message_id: str) -> bool:
        """Whether iovox accepted this message."""
        return message_id in self.counts()["by_message_id"]

    def sent_at(self) -> dict[str, float]:
        """When iovox accepted each message, in that order; seconds since 1970."""
        messages = self.simulator.get("/_simulator/messages").json()["messages"]
        return {
            message["x_message_id"]: datetime.fromisoformat(message["received_at"]).timestamp()
            for message in messages
        }


@contextmanager
def stage(database_url: str, **settings: str) -> Iterator[Stage]:
    """A simulator without receipts, and a key; the test starts replicas."""
    with ExitStack() as stack:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        stack.enter_context(
            ServerProcess.fork(["simulator", "--port", str(port)], {}, f"{url}/_simulator/counts")
        )
        env = {
            "DLR_DATABASE_URL": database_url,
            "DLR_PUBLIC_URL": "http://127.0.0.1:9",
            "DLR_CALLBACK_URL_HEADERS": f"X-Secret: {SECRET}",
            "DLR_IOVOX_URL": url,
            "DLR_IOVOX_USERNAME": "someone",
            "DLR_IOVOX_SECURE_KEY": "a-key",
            "DLR_LOG_LEVEL": "error",
            **settings,
        }
        client = stack.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=30))
        set_up = Stage(stack, env, client)
        set_up.behave(receipts=False)
        set_up.key = make_key(env, "billing", "send", "read")
        yield set_up


def wait_for(
    holds: Callable[[], object], what: str, *, patience: float, every: float = 0.1
) -> None:
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(every)
