"""An app's webhooks: subscriptions to status changes, and their deliveries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from iovox_receipts.calls import Call, Caller, understood
from iovox_receipts.filters import params
from iovox_receipts.models import Json, moment
from iovox_receipts.paths import segment

PATH = "/v1/webhooks"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A subscription. ``state`` is ACTIVE, PAUSED or ENDED (for good: the receiver answered 410);
    ``reason`` says why. ``secret`` is known only where the service has just made it.
    """

    id: str
    url: str
    statuses: tuple[str, ...]
    state: str
    reason: str | None
    app: str | None
    secret: str | None = field(default=None, repr=False)
    raw: Json = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of a webhook's receiver. ``took_ms`` is in milliseconds; ``error`` says what went
    wrong, or why there was no response; ``response`` is the beginning of its body, if it is kept.
    """

    at: datetime
    took_ms: int
    status_code: int | None
    error: str | None
    response: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one webhook. ``state`` is PENDING, DELIVERED, FAILED or CANCELLED.

    ``attempt_log`` has its last attempts, oldest first; services of earlier versions send none.
    """

    id: str
    type: str
    state: str
    attempts: int
    message_id: str | None
    created_at: datetime | None
    next_attempt_at: datetime | None
    ended_at: datetime | None
    status_code: int | None
    error: str | None
    attempt_log: tuple[Attempt, ...] = ()
    raw: Json = field(default_factory=dict, repr=False, compare=False)


class AsyncWebhooks:
    """``client.webhooks``, each call within the client's patience. Calls that are not idempotent
    are retried only where the service surely did not process them.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def create(
        self, url: str, *, statuses: Sequence[str] | None = None, app: str | None = None
    ) -> Webhook:
        """Subscribe, by default to final statuses. Keep the ``secret``: it is not shown again.

        ``app`` is for keys with the scope admin: whose events; without it, every app's.
        """
        asked = {"url": url, "statuses": statuses and list(statuses), "app": app}
        body = {name: value for name, value in asked.items() if value is not None}
        return self._one(await self._do("POST", PATH, body))

    async def list(self) -> tuple[Webhook, ...]:
        """Every webhook, oldest first."""
        response = await self._caller.ask(Call("GET", PATH))
        with understood(response):
            return tuple(_webhook(one) for one in response.json()["webhooks"])

    async def get(self, webhook_id: str) -> Webhook:
        """One webhook."""
        return self._one(await self._caller.ask(Call("GET", _path(webhook_id))))

    async def change(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        statuses: Sequence[str] | None = None,
        paused: bool | None = None,
    ) -> Webhook:
        """Change its URL or statuses; pause or resume it. While it is paused nothing is lost."""
        asked = {"url": url, "statuses": statuses and list(statuses), "paused": paused}
        body = {name: value for name, value in asked.items() if value is not None}
        return self._one(await self._caller.ask(Call("PATCH", _path(webhook_id), body)))

    async def delete(self, webhook_id: str) -> None:
        """Delete it and its deliveries; nothing more is sent."""
        await self._do("DELETE", _path(webhook_id))

    async def rotate(self, webhook_id: str) -> Webhook:
        """Make a new ``secret``. For a day deliveries are signed with both."""
        return self._one(await self._do("POST", f"{_path(webhook_id)}/secret"))

    async def test(self, webhook_id: str) -> Delivery:
        """Send a test event; look at the delivery a moment later."""
        return self._delivery(await self._do("POST", f"{_path(webhook_id)}/test"))

    async def delivery(self, webhook_id: str, delivery_id: str) -> Delivery:
        """One delivery, with its attempts."""
        return self._delivery(await self._caller.ask(Call("GET", _path(webhook_id, delivery_id))))

    async def deliveries(
        self, webhook_id: str, *, state: str | None = None
    ) -> AsyncIterator[Delivery]:
        """A webhook's deliveries, newest first."""
        path = f"{_path(webhook_id)}/deliveries"
        cursor: str | None = None
        while True:
            query = params({"limit": 500, "state": state, "cursor": cursor})
            response = await self._caller.ask(Call("GET", path, params=query))
            with understood(response):
                body = response.json()
                found = [_delivery(one) for one in body["deliveries"]]
                cursor = body["next"]
            for one in found:
                yield one
            if cursor is None:
                return

    async def replay(self, webhook_id: str, delivery_id: str) -> Delivery:
        """Send one delivery again, whatever its state."""
        path = f"{_path(webhook_id, delivery_id)}/replay"
        return self._delivery(await self._do("POST", path))

    async def replay_many(
        self,
        webhook_id: str,
        *,
        after: str | None = None,
        until: str | None = None,
        from_: datetime | None = None,
        to: datetime | None = None,
        state: str | None = None,
    ) -> int:
        """Send many again, in order; returns how many. At least one bound is needed.

        ``after`` and ``until`` are events' ids; ``from_`` and ``to`` are times at which events were
        recorded; ``state`` is the deliveries'.
        """
        path = f"{_path(webhook_id)}/replay"
        bounds = {"after": after, "until": until, "from_": from_, "to": to, "state": state}
        asked = {**params(bounds)}
        total = 0
        while True:
            response = await self._do("POST", path, asked)
            with understood(response):
                body = response.json()
                total += int(body["replayed"])
                end = body["next"]
            if end is None:
                return total
            asked["after"] = end

    async def _do(self, method: str, path: str, body: Json | None = None) -> httpx.Response:
        return await self._caller.ask(Call(method, path, body, repeatable=False))

    def _one(self, response: httpx.Response) -> Webhook:
        with understood(response):
            return _webhook(response.json())

    def _delivery(self, response: httpx.Response) -> Delivery:
        with understood(response):
            return _delivery(response.json())


def _path(webhook_id: str, delivery_id: str | None = None) -> str:
    path = f"{PATH}/{segment(webhook_id)}"
    return path if delivery_id is None else f"{path}/deliveries/{segment(delivery_id)}"


def _webhook(raw: dict[str, Any]) -> Webhook:
    shown = {name: value for name, value in raw.items() if name != "secret"}
    return Webhook(
        id=raw["id"],
        url=raw["url"],
        statuses=tuple(raw["statuses"]),
        state=raw["state"],
        reason=raw["reason"],
        app=raw["app"],
        secret=raw.get("secret"),
        raw=shown,
    )


def _delivery(raw: dict[str, Any]) -> Delivery:
    return Delivery(
        id=raw["id"],
        type=raw["type"],
        state=raw["state"],
        attempts=raw["attempts"],
        message_id=raw["message_id"],
        created_at=moment(raw["created_at"]),
        next_attempt_at=moment(raw["next_attempt_at"]),
        ended_at=moment(raw["ended_at"]),
        status_code=raw["status_code"],
        error=raw["error"],
        attempt_log=tuple(_attempt(each) for each in raw.get("attempt_log", ())),
        raw=raw,
    )


def _attempt(raw: dict[str, Any]) -> Attempt:
    return Attempt(
        at=datetime.fromisoformat(raw["at"]),
        took_ms=raw["took_ms"],
        status_code=raw["status_code"],
        error=raw["error"],
        response=raw["response"],
    )
