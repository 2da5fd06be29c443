"""A running service and the iovox that it sends to, both in the test's own event loop."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import uvicorn
from sqlalchemy import text

from app.main import create_app
from app.model.api_key import digest, new_secret
from app.runtime.runtime import Runtime
from app.settings import Settings
from app.simulator.main import create_simulator
from app.simulator.server import make_server
from app.store.keys import KeyStore
from tests.support.front import in_front_of
from tests.support.ports import free_port

SECRET = "a-secret-of-the-tests"
HELLO = {"origin": "447923221231", "destination": "+44 7700 900100", "message": "Hello there"}
ACCEPTED, LOST, REFUSED, UNAUTHORIZED = "100", "110", "111", "112"
"""Last digits of a destination, which tell the simulator what to do."""


def to(ending: str, **fields: object) -> dict[str, object]:
    """A valid message to a destination with these last digits."""
    return {**HELLO, "destination": f"+44 7700 900{ending}", **fields}


class Iovox:
    """The simulator, over HTTP."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    @property
    def url(self) -> str:
        return str(self._client.base_url).rstrip("/")

    async def reset(self) -> None:
        """Forget all messages; from now on respond, and send receipts, at once."""
        quick = {"receipt_delay": 0.01, "answer_delay": 0.0, "withheld": 5.0, "down": None}
        await self.behave(receipts=True, **quick)
        (await self._client.post("/_simulator/reset")).raise_for_status()

    async def behave(self, **knobs: object) -> None:
        (await self._client.post("/_simulator/behaviour", json=knobs)).raise_for_status()

    async def counts(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self._client.get("/_simulator/counts")).json()
        return found

    async def messages(self) -> list[dict[str, Any]]:
        """The messages that it accepted, in that order."""
        found: list[dict[str, Any]] = (await self._client.get("/_simulator/messages")).json()[
            "messages"
        ]
        return found

    async def sent(self) -> list[str]:
        """Our ids of the messages that it accepted, in order."""
        return [message["x_message_id"] for message in await self.messages()]


class Service:
    """One replica, and a client with an app's key."""

    def __init__(self, runtime: Runtime, client: httpx.AsyncClient) -> None:
        self.runtime = runtime
        self.client = client
        self.app = "billing"

    async def is_ready(self) -> bool:
        """Whether it has seen its database, and brought back what its journal has."""
        return self.runtime.watch.is_up and self.runtime.journal.is_checked

    async def key(self, app: str = "billing", *scopes: str) -> dict[str, str]:
        """A new key, as request headers."""
        secret = new_secret()
        await KeyStore(self.runtime.database).add(
            key_id=uuid4().hex[:8],
            app=app,
            digest=digest(secret),
            scopes=frozenset(scopes or {"send", "read"}),
        )
        return {"Authorization": f"Bearer {secret}"}

    async def send(self, fields: object = HELLO, **headers: str) -> httpx.Response:
        return await self.post("/v1/messages", fields, **headers)

    async def post(self, path: str, body: object = None, **headers: str) -> httpx.Response:
        """Header names have underscores for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(path, json=body, headers=named)

    async def look(self, message_id: str) -> dict[str, Any]:
        response = await self.client.get(f"/v1/messages/{message_id}")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def becomes(self, message_id: str, *statuses: str, patience: float = 15) -> str:
        """Wait until the message has one of these statuses; returns it."""
        status = ""

        async def arrived() -> bool:
            nonlocal status
            status = (await self.look(message_id))["status"]
            return status in statuses

        what = f"{message_id} to become {statuses}"
        await until(arrived, what, patience=patience, every=0.05)
        return status

    async def states(self) -> dict[str, int]:
        """The number of the app's messages in each state, from the table itself."""
        count = text("select state, count(*) from messages where app = :app group by state")
        async with self.runtime.database.read() as connection:
            rows = await connection.execute(count, {"app": self.app})
            return {row[0]: row[1] for row in rows}


class World:
    """Starts services and simulators; all of them end with the test."""

    def __init__(self, database_url: str, stack: AsyncExitStack) -> None:
        self.database_url = database_url
        self._stack = stack

    @asynccontextmanager
    async def another(self) -> AsyncIterator[World]:
        """A world with the same database; what is started in it ends before this one."""
        async with AsyncExitStack() as stack:
            yield World(self.database_url, stack)

    async def iovox(self, **knobs: object) -> Iovox:
        """A simulator that responds, and sends its receipts, at once."""
        url = await self._stack.enter_async_context(
            serving(make_server(create_simulator(), port=0))
        )
        iovox = Iovox(await self._client(url))
        await iovox.behave(**{"receipt_delay": 0.01, "withheld": 5, **knobs})
        return iovox

    async def service(self, iovox: Iovox | str | None = None, **changed: object) -> Service:
        """A replica; ``changed`` are its settings. Its client carries a key of ``billing``."""
        url = iovox.url if isinstance(iovox, Iovox) else iovox or "http://127.0.0.1:9"
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        needed: dict[str, object] = {
            "database_url": self.database_url,
            "spool_dir": folder,
            "public_url": f"http://127.0.0.1:{port}",
            "callback_url_headers": f"Content-Type: application/json,X-Secret: {SECRET}",
            "iovox_url": url,
            "iovox_username": "someone",
            "iovox_secure_key": "a-key",
            "iovox_connect_timeout": 2,
            "iovox_read_timeout": 1.5,
        }
        app = create_app(Settings.model_validate(needed | changed))
        config = uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=5)
        url = await self._stack.enter_async_context(serving(uvicorn.Server(config)))
        service = Service(app.runtime, await self._client(url))
        await until(
            service.is_ready, "the database and the journal"
        )  # a busy machine takes its time
        service.client.headers.update(await service.key())
        return service

    async def _client(self, url: str) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
        url = f"http://127.0.0.1:{in_front_of(int(url.rpartition(':')[2]))}"
        client = httpx.AsyncClient(base_url=url, trust_env=False, timeout=30, limits=limits)
        return await self._stack.enter_async_context(client)


@asynccontextmanager
async def serving(server: uvicorn.Server) -> AsyncIterator[str]:
    """Run a server; yields its base URL."""
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


async def until(
    holds: Callable[[], Awaitable[object]], what: str, *, patience: float = 15, every: float = 0.02
) -> None:
    """Poll a condition; only a failing test waits for long."""
    deadline = asyncio.get_running_loop().time() + patience
    while not await holds():
        assert asyncio.get_running_loop().time() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(every)


def faults(response: httpx.Response, status: int = 422) -> dict[str, str]:
    """The faults of a problem response: messages by field."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json", response.text
    return {fault["field"]: fault["message"] for fault in response.json().get("errors", [])}
