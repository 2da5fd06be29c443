"""A service with messages in every state, and callers who ask about them."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from pydantic import SecretStr

from app.errors import FieldError
from app.main import Service, create_app
from app.model.api_key import digest, new_secret
from app.model.message import Acceptance, Message, Outcome, Request, Step
from app.model.receipt import Arrival, Receipt, interpret
from app.model.status import Status
from app.settings import Settings
from app.store.keys import KeyStore
from app.store.messages import NewMessage
from app.store.wakeups import EVENTS

NOW = datetime.now(UTC).replace(microsecond=0)
PATIENCE = timedelta(hours=72)
BY_US = (Status.REJECTED, Status.UNCONFIRMED, Status.UNSENT, Status.CANCELLED)
BY_IOVOX = (Status.ACKNOWLEDGED, Status.BUFFERED, Status.FAILED, Status.EXPIRED, Status.DELIVERED)

WORDS = {"FAILED": "delivery failure", "DELIVERED": "delivery success"}

Json = dict[str, Any]


def settings(database_url: str, folder: Path, **changed: object) -> Settings:
    return Settings(
        database_url=database_url,
        spool_dir=folder / "spool",
        public_url="http://127.0.0.1:9",
        callback_url_headers=SecretStr("Content-Type: application/json,X-Secret: of-the-tests"),
        iovox_url="http://127.0.0.1:9",
        iovox_username="someone",
        iovox_secure_key=SecretStr("a-key"),
        queue_workers=False,
    ).model_copy(update=changed)


def id_at(moment: datetime) -> UUID:
    """An id of ours as it would have been made at that moment."""
    time = int(moment.timestamp() * 1000) << 80
    return UUID(
        int=time | 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 | random.getrandbits(62)
    )


@dataclass
class World:
    """``as_app`` asks with a key of that app, ``admin`` with one that sees all."""

    service: Service
    clients: dict[str, httpx.AsyncClient] = field(default_factory=dict)

    def as_app(self, app: str) -> httpx.AsyncClient:
        return self.clients[app]

    @property
    def admin(self) -> httpx.AsyncClient:
        return self.clients["admin"]

    async def add_key(self, name: str, *scopes: str) -> str:
        """Make an API key for an app; returns the secret."""
        secret = new_secret()
        await KeyStore(self.service.runtime.database).add(
            key_id=uuid4().hex[:8], app=name, digest=digest(secret), scopes=frozenset(scopes)
        )
        self.clients[name] = self._client({"Authorization": f"Bearer {secret}"})
        return secret

    @property
    def nobody(self) -> httpx.AsyncClient:
        """A client without a key."""
        return self.clients.setdefault("", self._client({}))

    def _client(self, headers: dict[str, str]) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.service, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://service", headers=headers)

    async def message(
        self,
        status: Status = Status.SUBMITTED,
        *,
        app: str = "billing",
        created_at: datetime | None = None,
        status_at: datetime | None = None,
        sms_activity_id: str | None = None,
        resend_of: UUID | None = None,
        receipts: Sequence[tuple[Status, datetime]] = (),
        **request: Any,
    ) -> Message:
        """One message that has come as far as ``status``, by the stores that do it in earnest."""
        runtime = self.service.runtime
        created_at = created_at or datetime.now(UTC)
        status_at = status_at or created_at + timedelta(seconds=20)
        wanted = {"origin": "447923221231", "destination": "447723443321", "text": "Hello"}
        queued = status in (Status.QUEUED, Status.CANCELLED)
        new = Message(
            id=id_at(created_at),
            app=app,
            request=Request(**(wanted | request)),
            created_at=created_at,
            state=Status.QUEUED if queued else Status.SENDING,
            announced=queued,
            lease=None if queued else uuid4(),
            lease_until=None if queued else datetime.now(UTC) + timedelta(minutes=5),
            next_attempt_at=created_at if queued else None,
            resend_of=resend_of,
        )
        await runtime.messages.add([NewMessage(new)])
        if status in BY_US:
            step = Step(status, status_at, ("as the test says",))
            errors = (FieldError("destination", "Destination Invalid"),)
            refused = errors if status is Status.REJECTED else ()
            lost = Outcome(new.id, new.lease, step, announce=True, errors=refused)
            assert await runtime.messages.settle([lost]) == {new.id}
        elif status not in (Status.QUEUED, Status.SENDING):
            name = sms_activity_id or str(uuid4())
            submitted_at = status_at if status is Status.SUBMITTED else created_at
            await runtime.messages.accepted([Acceptance(new.id, name, submitted_at)])
            told = [*receipts, *([(status, status_at)] if status in BY_IOVOX else [])]
            await self.receipts(name, *told)
        return new

    async def receipts(self, sms_activity_id: str, *told: tuple[str, datetime]) -> None:
        """Receipts as iovox posts them, stored."""
        found = []
        for place, (status, at) in enumerate(told):
            body = {
                "sms_activity_id": sms_activity_id,
                "status": status,
                "delivery_status": WORDS.get(status),
                "status_reason": str(place % 3),
                "receipt_timestamp": at.isoformat(timespec="seconds"),
            }
            arrival = Arrival(uuid4(), datetime.now(UTC), json.dumps(body).encode())
            receipt = interpret(arrival)
            assert isinstance(receipt, Receipt)
            found.append(receipt)
        if found:
            await self.service.runtime.receipts.add(found, [])

    def announce(self) -> None:
        """What those who write do after a commit."""
        self.service.runtime.wakeups.announce(EVENTS)


@asynccontextmanager
async def living(database_url: str, **changed: object) -> AsyncIterator[World]:
    """The whole service but for its socket, with keys of some apps, `support` and `admin`."""
    with tempfile.TemporaryDirectory() as folder:
        service = create_app(settings(database_url, Path(folder), **changed))
        await service.runtime.start()
        world = World(service)
        try:
            await world.add_key("billing", "read")
            await world.add_key("shipping", "read")
            await world.add_key("sender", "send")
            await world.add_key("support", "support")
            await world.add_key("admin", "admin")
            yield world
        finally:
            for client in world.clients.values():
                await client.aclose()
            await service.runtime.stop()


async def all_pages(
    client: httpx.AsyncClient, params: Mapping[str, Any], *, limit: int
) -> list[Json]:
    """Every message that a list has, by its cursors."""
    found: list[Json] = []
    cursor: dict[str, str] = {}
    for _ in range(1_000):
        response = await client.get("/v1/messages", params={**params, "limit": limit, **cursor})
        assert response.status_code == 200, response.text
        body = response.json()
        assert len(body["messages"]) <= limit
        found += body["messages"]
        if body["next"] is None:
            return found
        cursor = {"cursor": body["next"]}
    raise AssertionError("the list does not end")


def faults(response: httpx.Response) -> dict[str, str]:
    """The fields that a 422 names."""
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return {fault["field"]: fault["message"] for fault in response.json()["errors"]}
