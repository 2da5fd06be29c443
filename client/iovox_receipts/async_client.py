"""The client for asyncio: what an app can ask of the service, one method each.

``Client`` runs these same methods for callers that block, so whatever holds here holds there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Self, Unpack
from uuid import uuid4

import httpx

from iovox_receipts import models
from iovox_receipts.calls import Call, Caller, Sleep, understood
from iovox_receipts.errors import ClientError, Conflict, NotAllowed, NotFinalYet
from iovox_receipts.events import read_feed, read_stream
from iovox_receipts.evidence import AsyncEvidence
from iovox_receipts.filters import Filters, Grouping, filter_params, params
from iovox_receipts.models import Event, Found, Json, Message, Outcome, Page, Sent, rfc3339
from iovox_receipts.paths import segment
from iovox_receipts.record import AsyncRecord
from iovox_receipts.subscriptions import AsyncWebhooks
from iovox_receipts.watching import watch

PATIENCE = 30.0
"""Seconds for a whole call."""

Outcomes = list[Outcome]
Alarms = list[dict[str, Any]]


class AsyncClient:
    """A connection to the service with one API key, for one event loop.

    ``patience`` is in seconds and bounds a whole call: connecting, the answer, and retries. Retried
    are a lost connection, an answer 429, 502, 503 or 504 (after the service's Retry-After), and a
    send whose earlier try is still being answered. Methods that make one call take a ``patience``
    of their own. ``connect_timeout``: seconds without any connection after which a call is given up
    earlier than that. ``transport`` and ``sleep`` replace httpx's transport and ``asyncio.sleep``.

    Every method raises a ClientError; ``iovox_receipts.errors`` has the tree.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        patience: float = PATIENCE,
        connect_timeout: float | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Raises ValueError for a URL or a key that cannot be one; connects to nothing yet."""
        self._caller = Caller(
            url,
            key,
            patience=patience,
            connect_timeout=connect_timeout,
            transport=transport,
            sleep=sleep,
        )
        self.webhooks = AsyncWebhooks(self._caller)
        self.record = AsyncRecord(self._caller)
        self.evidence = AsyncEvidence(self._caller)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._caller.close()

    async def send(
        self,
        origin: str,
        destination: str,
        message: str,
        *,
        expiry: int | None = None,
        c2c_failover_link_id: str | None = None,
        reference: str | None = None,
        send_at: datetime | None = None,
        idempotency_key: str | None = None,
        patience: float | None = None,
    ) -> Sent:
        """Send one text. Raises Rejected where iovox refuses it, Invalid where the service does.

        ``expiry`` is in minutes. ``send_at`` must be aware. Give an ``idempotency_key`` of your own
        (such as an order's number) where the same text may be asked for twice by mistake. After
        Unreachable or TryLater send again with the error's ``idempotency_key``: one text results.
        """
        fields = {
            "origin": origin,
            "destination": destination,
            "message": message,
            "expiry": expiry,
            "c2c_failover_link_id": c2c_failover_link_id,
            "reference": reference,
            "send_at": send_at,
        }
        body = _json({name: value for name, value in fields.items() if value is not None})
        return _sent(await self._send("/v1/messages", body, idempotency_key, patience))

    async def send_batch(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        idempotency_key: str | None = None,
        patience: float | None = None,
    ) -> Outcomes:
        """Queue up to 1,000 texts, each a dict with the fields of ``send``.

        The answer has an outcome for each, in order; a bad one (REJECTED, without an id) does not
        spoil the others.
        """
        body = {"messages": [_json(one) for one in messages]}
        response = await self._send("/v1/messages/batch", body, idempotency_key, patience)
        with understood(response):
            return [models.outcome(one) for one in response.json()["messages"]]

    async def resend(
        self, message_id: str, *, idempotency_key: str | None = None, patience: float | None = None
    ) -> Sent:
        """Deliberately send a message's text again, as a new message."""
        path = f"{_path(message_id)}/resend"
        return _sent(await self._send(path, None, idempotency_key, patience))

    async def cancel(self, message_id: str, *, patience: float | None = None) -> None:
        """Cancel a message that is QUEUED. Raises Conflict where it is not."""
        deadline = self._caller.deadline(patience)
        try:
            await self._caller.ask(Call("DELETE", _path(message_id)), deadline=deadline)
        except Conflict:
            # An earlier try may have cancelled it, and its answer was lost.
            if not await self._is_cancelled(message_id, deadline):
                raise

    async def status(self, message_id: str, *, patience: float | None = None) -> Message:
        """What became of a message, by our id or by iovox's ``sms_activity_id``."""
        return await self._status(message_id, self._caller.deadline(patience))

    async def wait_final(self, message_id: str, *, timeout: float = 300.0) -> Message:
        """The message once its status is final. Raises NotFinalYet after ``timeout`` seconds.

        While the service is unavailable it is retried, within the client's patience and at most a
        second longer than ``timeout``; then this raises Unreachable or TryLater.
        """
        async for message in self.watch(message_id, timeout=timeout):
            last = message
        if not last.final:
            raise NotFinalYet(last)
        return last

    def watch(self, message_id: str, *, timeout: float | None = None) -> AsyncIterator[Message]:
        """The message now, and again each time that its status has changed, up to the final one.

        After ``timeout`` seconds, or at most a second more, watching ends in any case.
        """
        return watch(self._caller, _path(message_id), timeout=timeout)

    async def list(
        self,
        *,
        cursor: str | None = None,
        limit: int = 100,
        patience: float | None = None,
        **filters: Unpack[Filters],
    ) -> Page:
        """One page of messages, newest first. ``cursor`` is the ``next`` of the page before."""
        query = params({"cursor": cursor, "limit": limit}) | filter_params(filters)
        call = Call("GET", "/v1/messages", params=query)
        response = await self._caller.ask(call, deadline=self._caller.deadline(patience))
        with understood(response):
            body = response.json()
            return Page(tuple(models.message(one) for one in body["messages"]), body["next"])

    async def all(
        self, *, patience: float | None = None, **filters: Unpack[Filters]
    ) -> AsyncIterator[Message]:
        """Every message that ``list`` would page through, newest first.

        ``patience`` bounds each page.
        """
        cursor: str | None = None
        while True:
            page = await self.list(cursor=cursor, limit=500, patience=patience, **filters)
            for message in page.messages:
                yield message
            if page.next is None:
                return
            cursor = page.next

    async def lookup(self, ids: Sequence[str], *, patience: float | None = None) -> Found:
        """Many messages at once, by ids of either kind."""
        deadline = self._caller.deadline(patience)
        messages: list[Message] = []
        missing: list[str] = []
        for start in range(0, len(ids), 1_000):
            call = Call("POST", "/v1/messages/lookup", {"ids": [*ids[start : start + 1_000]]})
            response = await self._caller.ask(call, deadline=deadline)
            with understood(response):
                body = response.json()
                messages += [models.message(one) for one in body["messages"]]
                missing += body["not_found"]
        return Found(tuple(messages), tuple(missing))

    async def stats(
        self,
        *,
        by: Grouping | None = None,
        from_: date | None = None,
        to: date | None = None,
        app: str | None = None,
        patience: float | None = None,
    ) -> dict[str, Any]:
        """Counts, delivery rate and times to delivery of the messages created in a time range.

        ``from_`` is a day before ``to`` if left out, and ``to`` is now; a date is London's.
        ``by`` is the property to group by; ``app`` needs an admin's key.
        """
        query = params({"by": by, "from_": from_, "to": to, "app": app})
        call = Call("GET", "/v1/stats", params=query)
        response = await self._caller.ask(call, deadline=self._caller.deadline(patience))
        with understood(response):
            return dict(response.json())

    async def alarms(self, *, patience: float | None = None) -> Alarms:
        """The service's alarms, active ones first; for support and admins."""
        call = Call("GET", "/v1/alarms")
        response = await self._caller.ask(call, deadline=self._caller.deadline(patience))
        with understood(response):
            return [dict(alarm) for alarm in response.json()["alarms"]]

    def events(
        self, after: str | None = None, *, follow: bool = True, limit: int = 500
    ) -> AsyncIterator[Event]:
        """Every change of status in the order of commits, from after an event's id (or the first).

        It goes on for ever, through outages of the service, unless ``follow`` is false: then it
        ends where the feed does. Store the ``id`` of what you have dealt with and hand it in after
        a restart: nothing is missed, and nothing comes twice. Raises Gone where it is from before
        the oldest event that the service keeps. ``limit``: how many are asked for at a time.
        """
        return read_feed(self._caller, after=after, follow=follow, limit=limit)

    def stream(
        self,
        *,
        after: str | None = None,
        message: str | None = None,
        status: str | Sequence[str] | None = None,
        reference: str | None = None,
    ) -> AsyncIterator[Event]:
        """Changes of status the moment they are committed, from now on or from after an event's id.

        It goes on for ever and reconnects after an outage, with what it missed; only the first
        connection has to be made within the client's patience. ``message`` (an id), ``status`` and
        ``reference`` are filters. For work that must not be lost across your own restarts use
        ``events``.
        """
        query = params({"message": message, "status": status, "reference": reference})
        return read_stream(self._caller, after=after, params=query)

    async def _send(
        self, path: str, body: Json | None, key: str | None, patience: float | None
    ) -> httpx.Response:
        key = str(uuid4()) if key is None else key
        call = Call("POST", path, body, headers={"Idempotency-Key": key})
        try:
            return await self._caller.ask(call, deadline=self._caller.deadline(patience))
        except ClientError as error:
            error.idempotency_key = key
            raise

    async def _status(self, message_id: str, deadline: float) -> Message:
        response = await self._caller.ask(Call("GET", _path(message_id)), deadline=deadline)
        with understood(response):
            return models.message(response.json())

    async def _is_cancelled(self, message_id: str, deadline: float) -> bool:
        try:
            return (await self._status(message_id, deadline)).status == "CANCELLED"
        except NotAllowed:
            return False


def _path(message_id: str) -> str:
    return f"/v1/messages/{segment(message_id)}"


def _json(fields: Mapping[str, Any]) -> Json:
    return {
        name: rfc3339(value) if isinstance(value, datetime) else value
        for name, value in fields.items()
    }


def _sent(response: httpx.Response) -> Sent:
    with understood(response):
        replayed = response.headers.get("Idempotency-Replayed") == "true"
        return models.sent(response.json(), replayed=replayed)
