"""A service that runs in the test's own event loop, and the ways to make something happen in it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import uvicorn
from uuid_utils.compat import uuid7

from app.main import create_app
from app.model.api_key import digest, new_secret
from app.model.message import Acceptance, Message, Outcome, Request, Step
from app.model.receipt import Arrival, Receipt, interpret
from app.model.status import Status
from app.runtime.runtime import Runtime
from app.server.complete_posts import CompletePostHttp
from app.settings import Settings
from app.store.engine import Database
from app.store.keys import KeyStore
from app.store.messages import MessageStore, NewMessage
from app.store.receipts import ReceiptStore
from app.store.wakeups import EVENTS
from app.store.webhooks import WebhookStore
from tests.support.front import in_front_of

AT_ONCE = 100
"""Messages in one transaction: with many more a slow machine needs longer than the stores allow."""
SECRET = "a-secret-of-the-tests"


def settings_for(database_url: str, folder: Path, **changed: object) -> Settings:
    needed: dict[str, object] = {
        "database_url": database_url,
        "spool_dir": folder,
        "public_url": "http://127.0.0.1:9",
        "callback_url_headers": f"Content-Type: application/json,X-Secret: {SECRET}",
        "iovox_url": "http://127.0.0.1:9",
        "iovox_username": "someone",
        "iovox_secure_key": "a-key",
        "queue_workers": False,
    }
    return Settings.model_validate(needed | changed)


class Writer:
    """Makes things happen to messages, by the stores themselves."""

    def __init__(
        self, database: Database, announce: Callable[[], None] = lambda: None, *, suffix: str = ""
    ) -> None:
        self.suffix = suffix
        self.database = database
        self.announce = announce
        self._messages = MessageStore(database)
        self._receipts = ReceiptStore(database)

    def app(self, name: str) -> str:
        """The name that an app really has."""
        return name + self.suffix

    async def key(self, app: str = "billing", *scopes: str) -> dict[str, str]:
        """A new key, as the headers that carry it."""
        secret = new_secret()
        await KeyStore(self.database).add(
            key_id=uuid4().hex[:8],
            app=self.app(app),
            digest=digest(secret),
            scopes=frozenset(scopes or {"read", "webhooks"}),
        )
        return {"Authorization": f"Bearer {secret}"}

    async def messages(
        self, count: int = 1, *, app: str = "billing", reference: str | None = None
    ) -> list[Message]:
        """Messages that are being sent right now: there is no event of them yet."""
        new = [_message(self.app(app), reference) for _ in range(count)]
        for start in range(0, count, AT_ONCE):
            await self._messages.add([NewMessage(one) for one in new[start : start + AT_ONCE]])
        return new

    async def queue(self, count: int, *, reference: str | None = None) -> list[Message]:
        """Messages that wait, each with one event: the quickest way to many of those."""
        soon = datetime.now(UTC) + timedelta(hours=1)
        new = [
            replace(
                _message(self.app("billing"), reference),
                state=Status.QUEUED,
                announced=True,
                lease=None,
                lease_until=None,
                next_attempt_at=soon,
            )
            for _ in range(count)
        ]
        for start in range(0, count, AT_ONCE):
            await self._messages.add([NewMessage(one) for one in new[start : start + AT_ONCE]])
            self.announce()
        return new

    async def accept(self, *messages: Message) -> None:
        """iovox has answered: each is SUBMITTED, with an event."""
        now = datetime.now(UTC)
        for start in range(0, len(messages), AT_ONCE):
            await self._messages.accepted(
                [
                    Acceptance(one.id, activity_id(one), now)
                    for one in messages[start : start + AT_ONCE]
                ]
            )
            self.announce()

    async def receive(self, status: str, *messages: Message, second: int = 1) -> None:
        """A receipt for each of these messages, in one batch."""
        receipts = [receipt(activity_id(one), status, second) for one in messages]
        await self._receipts.add(receipts, [])
        self.announce()

    async def reject(self, *messages: Message) -> None:
        """iovox has refused them: REJECTED, with an event."""
        step = Step(Status.REJECTED, datetime.now(UTC), ("Origin Invalid",))
        await self._messages.settle(
            [Outcome(one.id, one.lease, step, announce=True) for one in messages]
        )
        self.announce()

    async def submitted(
        self, count: int = 1, *, app: str = "billing", reference: str | None = None
    ) -> list[Message]:
        """Messages that iovox has taken, each with one event."""
        new = await self.messages(count, app=app, reference=reference)
        await self.accept(*new)
        return new


class World(Writer):
    """A running service, in which things happen."""

    def __init__(self, runtime: Runtime, client: httpx.AsyncClient, *, suffix: str = "") -> None:
        super().__init__(runtime.database, lambda: runtime.wakeups.announce(EVENTS), suffix=suffix)
        self.runtime = runtime
        self.client = client

    def with_own_names(self) -> World:
        """The same service, in which every app is one that nobody else has."""
        return World(self.runtime, self.client, suffix=f"-{uuid4().hex[:8]}")

    async def forget_webhooks(self) -> None:
        """Have nothing sent to receivers that are gone."""
        store = WebhookStore(self.database)
        for webhook in await store.all(sees=None):
            if webhook.app is None or webhook.app.endswith(self.suffix):
                await store.remove(webhook.id, sees=None)


def activity_id(message: Message) -> str:
    """The id by which iovox knows it."""
    return f"iovox-{message.id}"


def receipt(sms_activity_id: str, status: str, second: int = 1) -> Receipt:
    body = (
        f'{{"sms_activity_id": "{sms_activity_id}", "status": "{status}",'
        f' "receipt_timestamp": "2026-05-06 18:{second // 60:02}:{second % 60:02}"}}'
    )
    found = interpret(Arrival(uuid7(), datetime.now(UTC), body.encode()))
    assert isinstance(found, Receipt)
    return found


def _message(app: str, reference: str | None) -> Message:
    now = datetime.now(UTC)
    return Message(
        id=uuid7(),
        app=app,
        request=Request("447923221231", "447723443321", "Hello", reference=reference),
        created_at=now,
        state=Status.SENDING,
        lease=uuid4(),
        lease_until=now + timedelta(minutes=1),
    )


@asynccontextmanager
async def serving(database_url: str, **changed: object) -> AsyncIterator[World]:
    """A service over this database."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(settings_for(database_url, Path(folder), **changed))
        server = uvicorn.Server(
            uvicorn.Config(
                app, port=0, http=CompletePostHttp, log_config=None, timeout_graceful_shutdown=5
            )
        )
        task = asyncio.create_task(server.serve())
        while not server.started:
            assert not task.done(), "the server did not start"
            await asyncio.sleep(0.005)
        port = in_front_of(server.servers[0].sockets[0].getsockname()[1])
        try:
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10
            ) as client:
                yield World(app.runtime, client)
        finally:
            app.runtime.end_streams()
            server.should_exit = True
            await task


async def until(holds: object, what: str, *, patience: float = 10.0) -> None:
    """Wait for a condition; only a failing test waits for long."""
    assert callable(holds)
    deadline = asyncio.get_running_loop().time() + patience
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.01)


def fields(answer: httpx.Response) -> list[str]:
    """The names that a problem puts at fault."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return [fault["field"] for fault in answer.json().get("errors", [])]


def statuses(events: Sequence[dict[str, object]]) -> list[object]:
    return [event["status"] for event in events]
