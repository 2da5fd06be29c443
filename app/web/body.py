"""Request bodies: bounded in size, time and names, and read as strict JSON. Bytes are not trusted.

JSON is read whatever the Content-Type says, since `curl -d` calls it a form.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.types import Receive

from app.errors import BadRequest, BodyTooLarge, RequestTimeout

KIB = 1024
USUAL_LIMIT = 64 * KIB
BODY_TIMEOUT = 30.0
"""Seconds for a body to arrive."""

_JSON_TYPE = (b"content-type", b"application/json")

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def body_limit(limit: int) -> Callable[[Endpoint], Endpoint]:
    """Let a route take bodies of up to so many bytes; without it, ``USUAL_LIMIT``."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.body_limit = limit  # type: ignore[attr-defined]
        return endpoint

    return mark


class JsonRequest(Request):
    """A request whose body has been read and parsed, as FastAPI asks for it."""

    def __init__(self, request: Request, body: bytes, value: Any) -> None:
        headers = [pair for pair in request.scope["headers"] if pair[0] != b"content-type"]
        super().__init__({**request.scope, "headers": [*headers, _JSON_TYPE]}, request.receive)
        self._read = body
        self._value = value

    async def body(self) -> bytes:
        """The bytes."""
        return self._read

    async def json(self) -> Any:
        """Their value."""
        return self._value


async def read_json(request: Request, limit: int, *, is_required: bool) -> JsonRequest:
    """The request with its body read; where it is not required there may be none.

    Raises BadRequest, BodyTooLarge or RequestTimeout.
    """
    body = await read_body(request.receive, limit)
    return JsonRequest(request, body, parse_json(body) if body or is_required else None)


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole of a body. Raises BadRequest, BodyTooLarge or RequestTimeout.

    After a refusal the server reads the rest and drops it, so that the caller sees the response.
    """
    chunks: list[bytes] = []
    size = 0
    more = True
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":  # nobody reads the response
                    raise BadRequest("The connection was cut before the body was whole")
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size > limit:
                    raise BodyTooLarge(f"A body has at most {limit} bytes here")
                more = message.get("more_body", False)
    except TimeoutError:
        raise RequestTimeout(
            f"The body did not arrive within {BODY_TIMEOUT:g} s", headers={"Connection": "close"}
        ) from None
    return b"".join(chunks)


def parse_json(body: bytes) -> Any:
    """The JSON that these bytes are. Raises BadRequest."""
    try:
        return _decoder.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not JSON: {_reason(error)}"[:300]) from None


class _NotJsonError(ValueError):
    """What Python reads as JSON and RFC 8259 does not."""


def _refuse_constant(word: str) -> None:
    raise _NotJsonError(f"{word} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | _NotJsonError):
        return str(error)
    return "a number is too long"  # Python's own message speaks of sys.set_int_max_str_digits
