"""An app's webhooks: who is told of which status changes, and what became of each telling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from app.client.calls import Call, Caller, understood
from app.client.models import Json, moment

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
class Delivery:
    """One event on its way to one webhook. ``state`` is PENDING, DELIVERED, FAILED or CANCELLED."""

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
    raw: Json = field(default_factory=dict, repr=False, compare=False)


class Webhooks:
    """``client.webhooks``. What makes something new is tried again only where it surely was not
    asked for yet.
    """

    def __init__(self, calls: Caller) -> None:
        self._calls = calls

    def create(
        self, url: str, *, statuses: Sequence[str] | None = None, app: str | None = None
    ) -> Webhook:
        """Subscribe, by default to final statuses. Keep the ``secret``: it is not shown again.

        ``app`` is for keys with the scope admin: whose events; without it, every app's.
        """
        asked = {"url": url, "statuses": statuses and list(statuses), "app": app}
        return self._one(self._do("POST", PATH, {k: v for k, v in asked.items() if v is not None}))

    def list(self) -> tuple[Webhook, ...]:
        """All of them, oldest first."""
        response = self._calls.ask(Call("GET", PATH))
        with understood(response):
            return tuple(_webhook(one) for one in response.json()["webhooks"])

    def get(self, webhook_id: str) -> Webhook:
        """One of them."""
        return self._one(self._calls.ask(Call("GET", _path(webhook_id))))

    def change(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        statuses: Sequence[str] | None = None,
        paused: bool | None = None,
    ) -> Webhook:
        """Another URL, other statuses; pause or resume. While it is paused nothing is lost."""
        asked = {"url": url, "statuses": statuses and list(statuses), "paused": paused}
        body = {name: value for name, value in asked.items() if value is not None}
        return self._one(self._calls.ask(Call("PATCH", _path(webhook_id), body)))

    def delete(self, webhook_id: str) -> None:
        """Delete it and its deliveries; nothing more is sent."""
        self._do("DELETE", _path(webhook_id))

    def rotate(self, webhook_id: str) -> Webhook:
        """A new ``secret``. For a day deliveries are signed with both."""
        return self._one(self._do("POST", f"{_path(webhook_id)}/secret"))

    def test(self, webhook_id: str) -> Delivery:
        """Send a test event; look at the delivery a moment later."""
        return self._delivery(self._do("POST", f"{_path(webhook_id)}/test"))

    def delivery(self, webhook_id: str, delivery_id: str) -> Delivery:
        """What was sent, and what came of it."""
        return self._delivery(self._calls.ask(Call("GET", _path(webhook_id, delivery_id))))

    def deliveries(self, webhook_id: str, *, state: str | None = None) -> Iterator[Delivery]:
        """What was sent, newest first."""
        cursor: str | None = None
        while True:
            params = {"limit": "500", "state": state or "", "cursor": cursor or ""}
            call = Call(
                "GET",
                f"{_path(webhook_id)}/deliveries",
                params={name: value for name, value in params.items() if value},
            )
            response = self._calls.ask(call)
            with understood(response):
                body = response.json()
                found = [_delivery(one) for one in body["deliveries"]]
                cursor = body["next"]
            yield from found
            if cursor is None:
                return

    def replay(self, webhook_id: str, delivery_id: str) -> Delivery:
        """Send one delivery again, whatever came of it."""
        path = f"{_path(webhook_id, delivery_id)}/replay"
        return self._delivery(self._do("POST", path))

    def replay_many(self, webhook_id: str, **bounds: str) -> int:
        """Send many again, in order; answers how many.

        ``bounds``: ``after`` and ``until`` (events' ids), ``from_`` and ``to`` (RFC 3339 times at
        which they were recorded), ``state``; at least one.
        """
        asked = {name.removesuffix("_"): value for name, value in bounds.items()}
        total = 0
        while True:
            response = self._do("POST", f"{_path(webhook_id)}/replay", asked)
            with understood(response):
                body = response.json()
                total += int(body["replayed"])
                end = body["next"]
            if end is None:
                return total
            asked["after"] = end

    def _do(self, method: str, path: str, body: Json | None = None) -> httpx.Response:
        return self._calls.ask(Call(method, path, body, repeatable=False))

    def _one(self, response: httpx.Response) -> Webhook:
        with understood(response):
            return _webhook(response.json())

    def _delivery(self, response: httpx.Response) -> Delivery:
        with understood(response):
            return _delivery(response.json())


def _path(webhook_id: str, delivery_id: str | None = None) -> str:
    if not webhook_id or delivery_id == "":
        raise ValueError("an id is needed")
    path = f"{PATH}/{quote(webhook_id, safe='')}"
    return path if delivery_id is None else f"{path}/deliveries/{quote(delivery_id, safe='')}"


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
        raw=raw,
    )
