"""Request bodies: limited in size and time, parsed as strict JSON. The bytes are untrusted.

The Content-Type is ignored, since `curl -d` declares JSON as a form.
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
DEFAULT_LIMIT = 64 * KIB
BODY_TIMEOUT = 30.0
"""Seconds for a body to arrive."""

_JSON_TYPE = (b"content-type", b"application/json")

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def body_limit(limit: int) -> Callable[[Endpoint], Endpoint]:
    """Set the limit of a route's bodies, in bytes; without it, it is ``DEFAULT_LIMIT``."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.body_limit = limit  # type: ignore[attr-defined]
        return endpoint

    return mark


class JsonRequest(Request):
    """A request whose body has been read and parsed, in the form that FastAPI uses."""

    def __init__(self, request: Request, body: bytes, value: Any) -> None:
        headers = [pair for pair in request.scope["headers"] if pair[0] != b"content-type"]
        super().__init__({**request.scope, "headers": [*headers, _JSON_TYPE]}, request.receive)
        self._read = body
        self._value = value

    async def body(self) -> bytes:
        """The bytes of the body."""
        return self._read

    async def json(self) -> Any:
        """The parsed body."""
        return self._value


async def read_json(request: Request, limit: int, *, is_required: bool) -> JsonRequest:
    """The request with its body; an empty one is None unless ``is_required``.

    Raises BadRequest, BodyTooLarge or RequestTimeout.
    """
    body = await read_body(request.receive, limit)
    return JsonRequest(request, body, parse_json(body) if body or is_required else None)


async def read_body(receive: Receive, limit: int) -> bytes:
    """Read a body of at most ``limit`` bytes. Raises BadRequest, BodyTooLarge or RequestTimeout.

    After an error the server reads and discards the rest, so that the client gets the response.
    """
    chunks: list[bytes] = []
    size = 0
    more = True
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":  # the response will not be read
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
    """Parse JSON. Raises BadRequest."""
    try:
        return _decoder.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not JSON: {_reason(error)}"[:300]) from None


class _NotJsonError(ValueError):
    """NaN or Infinity, which Python accepts and RFC 8259 does not."""


def _reject_constant(word: str) -> None:
    raise _NotJsonError(f"{word} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_reject_constant)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | _NotJsonError):
        return str(error)
    return "a number is too long"  # Python's own message refers to sys.set_int_max_str_digits
