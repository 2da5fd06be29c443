"""``POST /v1/messages``, in front of the framework. The caller holds a key with the scope ``send``;
its JSON may be anything.

A bare ASGI callable, like the ones that take receipts and look messages up: finding the route and
calling it the framework's way costs as much as recording the message. The framework has the route
all the same, for its document and for other methods.

Once a request is on the wire no failure of ours answers 5xx: the caller would send it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import structlog

from app.auth import Authenticator, Scope
from app.calls import Headers, WholeCall
from app.errors import ServiceError, problem_body
from app.openapi import PROBLEM
from app.query import only_named
from app.send.answers import Answer, single
from app.send.idempotency import HEADER, read_key
from app.send.rates import KeyRates
from app.send.sender import Sender
from app.web import LARGEST_BODY, json_of, read_body, too_large

PATH = "/v1/messages"
_KEY = HEADER.lower().encode()

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ReadBody = Callable[[], Awaitable[bytes]]

log = structlog.get_logger(__name__)


class SendEndpoint:
    """Sends a message and tells what became of it, or what is wrong. Never raises."""

    def __init__(self, *, sender: Sender, rates: KeyRates, authenticator: Authenticator) -> None:
        self._sender = sender
        self._rates = rates
        self._authenticator = authenticator
        self._calls: set[asyncio.Task[None]] = set()

    def takes(self, scope: MutableMapping[str, Any]) -> bool:
        """Whether a request is for it; everything else is the framework's."""
        return bool(scope["path"] == PATH and scope["method"] == "POST")

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        read = partial(read_body, receive)
        answer = await self._answer(scope["headers"], read, query=scope["query_string"])
        headers = [*_headers(answer), (b"content-length", b"%d" % len(answer.body))]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    def answer_whole(self, call: WholeCall) -> None:
        """Answer a request that was there at once, as most are."""
        task = asyncio.get_running_loop().create_task(self._answer_call(call))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _answer_call(self, call: WholeCall) -> None:
        async def body() -> bytes:
            if len(call.body) > LARGEST_BODY:
                raise too_large()
            return call.body

        answer = await self._answer(call.headers, body)
        call.answer(answer.status, _headers(answer), answer.body)

    async def _answer(self, headers: Headers, read: ReadBody, query: bytes = b"") -> Answer:
        try:
            return await self._told(headers, read, query)
        except ServiceError as error:
            return _problem(error)
        except Exception as error:
            log.exception("request_failed", method="POST", path=PATH, exc_info=error)
            failure = ServiceError("The failure is logged. Nothing is known of its effects.")
            return _problem(failure)

    async def _told(self, headers: Headers, read: ReadBody, query: bytes) -> Answer:
        given = dict(headers)
        authorization = given.get(b"authorization", b"").decode("latin-1")
        caller = await self._authenticator.authenticate(authorization, Scope.SEND)
        if query:
            only_named(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
        self._rates.take(caller.key_id)
        body = json_of(await read())
        keys = [value.decode("latin-1") for name, value in headers if name == _KEY]
        key = read_key(keys, "send", body)
        told = await self._sender.send(caller.app, body, key)
        return single(told.sent, told.message, replayed=told.replayed)


def _headers(answer: Answer) -> Headers:
    more = ((name.lower().encode(), v.encode("latin-1")) for name, v in answer.headers.items())
    return [(b"content-type", answer.kind.encode()), *more]


def _problem(error: ServiceError) -> Answer:
    return Answer(error.status, error.headers, problem_body(error), PROBLEM)
