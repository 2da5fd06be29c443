"""``GET /v1/messages/{id}``, in front of the framework. The caller holds a key; another app's
message does not exist to it.

A bare ASGI callable, like the one that takes receipts: finding the route and calling it the
framework's way costs more than the lookup itself. The framework has the route all the same, for its
document and for other methods.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl

import structlog

from app.auth import Authenticator, Scope
from app.calls import Headers
from app.errors import MethodNotAllowed, ServiceError, problem_body
from app.lookup.lookups import Lookups
from app.lookup.query import WAIT
from app.lookup.texts import json_bytes
from app.openapi import PROBLEM
from app.query import read_query

PREFIX = "/v1/messages/"

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# Names of other routes: nobody's message is called so, and a GET there is not offered.
_POSTED_TO = ("batch", "lookup")
_POSTED_TO_BELOW = "/resend"

_PRIVATE = (b"cache-control", b"private, no-cache")

log = structlog.get_logger(__name__)


class MessageEndpoint:
    """Answers with a message and its history, or with what is wrong. Never raises."""

    def __init__(self, *, lookups: Lookups, authenticator: Authenticator) -> None:
        self._lookups = lookups
        self._authenticator = authenticator

    def takes(self, scope: MutableMapping[str, Any]) -> bool:
        """Whether a request is for it; everything else is the framework's."""
        path: str = scope["path"]
        return path.startswith(PREFIX) and scope["method"] == "GET"

    async def __call__(self, scope: MutableMapping[str, Any], receive: object, send: Send) -> None:
        """Answer one request."""
        del receive  # a GET has no body that anybody reads
        try:
            status, headers, body = await self._answer(scope)
        except ServiceError as error:
            status, headers, body = _problem(error)
        except Exception as error:
            log.exception("request_failed", method="GET", path=scope["path"], exc_info=error)
            failure = ServiceError("The failure is logged. Nothing is known of its effects.")
            status, headers, body = _problem(failure)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: MutableMapping[str, Any]) -> tuple[int, Headers, bytes]:
        name = scope["path"][len(PREFIX) :]
        if name in _POSTED_TO or name.endswith(_POSTED_TO_BELOW):
            raise MethodNotAllowed("GET is not offered at this path", headers={"Allow": "POST"})
        given = dict(scope["headers"])
        key = given.get(b"authorization", b"").decode("latin-1")
        caller = await self._authenticator.authenticate(key, Scope.READ)
        query = scope["query_string"]
        seconds = _seconds(query) if query else 0.0
        known = given.get(b"if-none-match")
        record = await self._lookups.find(name, caller.sees)
        answer = _message(self._lookups.description(record), known)
        if seconds and not record.final and (known is None or answer[0] == 304):
            await self._lookups.changed(record, seconds)
            record = await self._lookups.find(name, caller.sees)
            answer = _message(self._lookups.description(record), known)
        return answer


def _seconds(query: bytes) -> float:
    """How long to wait. Raises Invalid."""
    items = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    seconds: float = read_query(items, WAIT).get("wait", 0.0)
    return seconds


def _message(message: dict[str, object], known: bytes | None) -> tuple[int, Headers, bytes]:
    """The message, or 304 where the caller has it already."""
    body = json_bytes(message)
    etag = b'"' + blake2b(body, digest_size=12).hexdigest().encode() + b'"'
    if known is not None and _is_among(etag, known):
        return 304, [(b"etag", etag), _PRIVATE], b""
    return 200, [*_sized(b"application/json", body), (b"etag", etag), _PRIVATE], body


def _is_among(etag: bytes, header: bytes) -> bool:
    known = [part.strip().removeprefix(b"W/") for part in header.split(b",")]
    return etag in known or known == [b"*"]


def _problem(error: ServiceError) -> tuple[int, Headers, bytes]:
    body = problem_body(error)
    more = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    return error.status, [*_sized(PROBLEM.encode(), body), *more], body


def _sized(kind: bytes, body: bytes) -> Headers:
    return [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
