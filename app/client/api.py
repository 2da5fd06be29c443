"""The client itself: what an app can ask of the service, one method each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import httpx

from app.client import models
from app.client.calls import Call, Caller, Params, understood
from app.client.errors import Conflict, NotAllowed, NotFinalYet
from app.client.events import read_feed, read_stream
from app.client.models import Event, Found, Json, Message, Page, Sent
from app.client.subscriptions import Webhooks

LONGEST_WAIT = 20
"""Seconds that the service is asked to hold one answer; proxies cut much longer ones."""
POLL_EVERY = 1.0
"""Seconds between looks at a message, where the service does not hold its answer."""

Where = str | int | float | bool | datetime | Sequence[str] | None


class Client:
    """A connection to the service with one API key. Safe to share between threads.

    ``timeout`` is in seconds for one answer. ``patience`` is in seconds for a whole call: within
    it the call is made again after a lost connection, an answer 429 or 503 (waiting for as long as
    the service asks), and while the service still answers an earlier try of the same send. Every
    method raises a ClientError; ``app.client.errors`` has the tree.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = 60.0,
        patience: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raises ValueError for a URL or a key that cannot be one; connects to nothing yet."""
        self._sleep = sleep
        self._patience = patience
        self._calls = Caller(
            url, key, timeout=timeout, patience=patience, transport=transport, sleep=sleep
        )
        self.webhooks = Webhooks(self._calls)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()

    def send(
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
    ) -> Sent:
        """Send one text. Raises Rejected where iovox refuses it, Invalid where the service does.

        ``expiry`` is in minutes. ``send_at`` must be aware. Give an ``idempotency_key`` of your own
        (such as an order's number) where the same text may be asked for twice by mistake.
        """
        fields = {
            "origin": origin,
            "destination": destination,
            "message": message,
            "expiry": expiry,
            "c2c_failover_link_id": c2c_failover_link_id,
            "reference": reference,
            "send_at": None if send_at is None else _rfc3339(send_at),
        }
        body = {name: value for name, value in fields.items() if value is not None}
        return self._send("/v1/messages", body, idempotency_key)

    def send_batch(
        self, messages: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> list[dict[str, Any]]:
        """Queue up to 1,000 texts, each a dict with the fields of ``send``.

        The answer has an ``index``, ``id``, ``status`` and ``errors`` for each, in order; a bad one
        (REJECTED, without an id) does not spoil the others.
        """
        headers = _idempotency(idempotency_key)
        call = Call("POST", "/v1/messages/batch", {"messages": list(messages)}, headers=headers)
        response = self._calls.ask(call)
        with understood(response):
            return [dict(one) for one in response.json()["messages"]]

    def resend(self, message_id: str, *, idempotency_key: str | None = None) -> Sent:
        """Deliberately send a message's text again, as a new message."""
        return self._send(f"{_path(message_id)}/resend", None, idempotency_key)

    def cancel(self, message_id: str) -> None:
        """Take back a message that is QUEUED. Raises Conflict where it is beyond that."""
        try:
            self._calls.ask(Call("DELETE", _path(message_id)))
        except Conflict:
            # The answer to an earlier try may have been lost after it was done.
            if not self._is_cancelled(message_id):
                raise

    def status(self, message_id: str) -> Message:
        """What became of a message, by our id or by iovox's ``sms_activity_id``."""
        response = self._calls.ask(Call("GET", _path(message_id)))
        with understood(response):
            return models.message(response.json())

    def wait_final(self, message_id: str, *, timeout: float = 300.0) -> Message:
        """The message once its status is final. Raises NotFinalYet after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        for message in self.watch(message_id, until=deadline):
            last = message
        if not last.final:
            raise NotFinalYet(last)
        return last

    def watch(self, message_id: str, *, until: float | None = None) -> Iterator[Message]:
        """The message now, and again each time that its status has changed, up to the final one.

        ``until`` is a moment of ``time.monotonic()`` at which watching ends in any case.
        """
        last: Message | None = None
        etag: str | None = None
        while True:
            asked_at = time.monotonic()
            left = LONGEST_WAIT if until is None else until - asked_at
            message, etag = self._look(message_id, etag, left)
            if message is not None and (last is None or message.raw != last.raw):
                last = message
                yield message
            else:
                self._rest(asked_at, until)
            is_over = until is not None and time.monotonic() >= until
            if is_over or (last is not None and last.final):
                return

    def list(self, *, cursor: str | None = None, limit: int = 100, **where: Where) -> Page:
        """One page of messages, newest first.

        ``where`` are the filters of ``GET /v1/messages``: ``status`` (one or several),
        ``destination``, ``origin``, ``reference``, ``final``, ``overdue``, ``contradictory``,
        ``app``, and times such as ``from_`` and ``to``, as the API's documentation lists them.
        """
        params = _params({"cursor": cursor, "limit": limit, **where})
        response = self._calls.ask(Call("GET", "/v1/messages", params=params))
        with understood(response):
            body = response.json()
            return Page(tuple(models.message(one) for one in body["messages"]), body["next"])

    def all(self, **where: Where) -> Iterator[Message]:
        """Every message that ``list`` would page through, newest first."""
        cursor: str | None = None
        while True:
            page = self.list(cursor=cursor, limit=500, **where)
            yield from page.messages
            if page.next is None:
                return
            cursor = page.next

    def lookup(self, ids: Sequence[str]) -> Found:
        """Many messages at once, by ids of either kind."""
        messages: list[Message] = []
        missing: list[str] = []
        for start in range(0, len(ids), 1_000):
            some = list(ids[start : start + 1_000])
            response = self._calls.ask(Call("POST", "/v1/messages/lookup", {"ids": some}))
            with understood(response):
                body = response.json()
                messages += [models.message(one) for one in body["messages"]]
                missing += body["not_found"]
        return Found(tuple(messages), tuple(missing))

    def stats(self, **where: Where) -> dict[str, Any]:
        """Counts, delivery rate and times to delivery; filters as ``GET /v1/stats`` has them."""
        response = self._calls.ask(Call("GET", "/v1/stats", params=_params(where)))
        with understood(response):
            return dict(response.json())

    def events(
        self, after: str | None = None, *, follow: bool = True, limit: int = 500
    ) -> Iterator[Event]:
        """Every change of status in the order of commits, from after an event's id (or the first).

        It goes on for ever, through outages of the service, unless ``follow`` is false: then it
        ends where the feed does. Store the ``id`` of what you have dealt with and hand it in after
        a restart: nothing is missed, and nothing comes twice.
        """
        return read_feed(self._calls, self._sleep, after=after, follow=follow, limit=limit)

    def stream(
        self,
        *,
        after: str | None = None,
        message: str | None = None,
        status: str | Sequence[str] | None = None,
        reference: str | None = None,
    ) -> Iterator[Event]:
        """Changes of status the moment they are committed, from now on or from after an event's id.

        It goes on for ever and comes back by itself after an outage, with what it missed.
        ``message`` (an id), ``status`` and ``reference`` choose. For work that must not be lost
        across your own restarts use ``events``.
        """
        params = _params({"message": message, "status": status, "reference": reference})
        return read_stream(
            self._calls, self._sleep, after=after, params=params, patience=self._patience
        )

    def _send(self, path: str, body: Json | None, key: str | None) -> Sent:
        response = self._calls.ask(Call("POST", path, body, headers=_idempotency(key)))
        with understood(response):
            replayed = response.headers.get("Idempotency-Replayed") == "true"
            return models.sent(response.json(), replayed=replayed)

    def _look(
        self, message_id: str, etag: str | None, left: float
    ) -> tuple[Message | None, str | None]:
        """The message, or None where it is still the one that this ETag stands for."""
        response = self._calls.ask(_held(message_id, etag, left))
        if response.status_code == httpx.codes.NOT_MODIFIED:
            return None, etag
        with understood(response):
            return models.message(response.json()), response.headers.get("ETag")

    def _rest(self, asked_at: float, until: float | None) -> None:
        """After an answer without news: a service that held it took its time, others are polled."""
        now = time.monotonic()
        pause = POLL_EVERY - (now - asked_at)
        if until is not None:
            pause = min(pause, until - now)
        if pause > 0:
            self._sleep(pause)

    def _is_cancelled(self, message_id: str) -> bool:
        try:
            return self.status(message_id).status == "CANCELLED"
        except NotAllowed:
            return False


def _path(message_id: str) -> str:
    if not message_id:
        raise ValueError("a message's id is needed")
    return f"/v1/messages/{quote(message_id, safe='')}"


def _held(message_id: str, etag: str | None, left: float) -> Call:
    """A look that is answered at once the first time, and later when there is news."""
    if etag is None or left < 1.0:
        return Call("GET", _path(message_id))
    wait = {"wait": str(min(LONGEST_WAIT, int(left)))}
    return Call("GET", _path(message_id), params=wait, headers={"If-None-Match": etag})


def _idempotency(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4()) if key is None else key}


def _params(where: Mapping[str, Where]) -> Params:
    """Query parameters. ``from`` is a word of Python's, so it is written ``from_`` there."""
    return {
        name.removesuffix("_"): _text(value) for name, value in where.items() if value is not None
    }


def _text(value: Where) -> str | Sequence[str]:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return _rfc3339(value)
    if isinstance(value, str | int | float) or value is None:
        return str(value)
    return list(value)


def _rfc3339(moment: datetime) -> str:
    """Raises ValueError for a time without a zone: it names no moment."""
    if moment.tzinfo is None:
        raise ValueError("a time must carry its zone, such as datetime.now(UTC)")
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
