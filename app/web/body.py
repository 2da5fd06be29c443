"""Request bodies: limited in size, time and memory, and parsed. The bytes are untrusted.

The Content-Type is ignored, since `curl -d` declares JSON as a form.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Self, TypeVar

from starlette.requests import Request
from starlette.types import Receive

from app.errors import (
    BadRequest,
    BodyTooLarge,
    RequestTimeout,
    TooManyRequests,
    Unavailable,
    UnsupportedMediaType,
)
from app.web.strict_json import UNCOUNTED, parse_json

KIB = 1024
DEFAULT_LIMIT = 64 * KIB
BODY_TIMEOUT = 30.0
"""Seconds for a body to arrive."""
MAX_HELD = 64 * KIB * KIB
"""Bytes of bodies that a process holds at once, from their first byte until they are answered."""
MAX_HELD_PER_KEY = 16 * KIB * KIB
"""The same of one key: four batches of the largest size, or 64 of 1,000 usual messages."""

Result = TypeVar("Result")
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def body_limit(limit: int) -> Callable[[Endpoint], Endpoint]:
    """Set the limit of a route's bodies, in bytes; without it, it is ``DEFAULT_LIMIT``."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.body_limit = limit  # type: ignore[attr-defined]
        return endpoint

    return mark


class JsonRequest(Request):
    """A request whose body has been read and parsed, in the form that FastAPI uses: without a
    Content-Type it takes a body for JSON, as ``strict_content_type`` is off.
    """

    def __init__(self, request: Request, body: bytes, value: Any) -> None:
        headers = [pair for pair in request.scope["headers"] if pair[0] != b"content-type"]
        super().__init__({**request.scope, "headers": headers}, request.receive)
        self._read = body
        self.value = value

    async def body(self) -> bytes:
        """The bytes of the body."""
        return self._read

    async def json(self) -> Any:
        """The parsed body."""
        return self.value


class Bodies:
    """Reads the bodies of all requests, so that together they take a bounded amount of memory."""

    def __init__(self) -> None:
        self._held = 0
        self._held_by: Counter[str] = Counter()
        # Large bodies are parsed in one thread: the event loop has a turn between its steps, and
        # two at once would only wait for each other.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="json")

    def reserve(self, key_id: str) -> Reservation:
        """The reservation of a request with this key: a context manager, since its bytes count as
        held until it is answered.
        """
        return Reservation(self, key_id)

    async def json(
        self, request: Request, reservation: Reservation, limit: int, *, is_required: bool
    ) -> JsonRequest:
        """The request with its parsed body; an empty one is None unless ``is_required``.

        Raises BadRequest, BodyTooLarge, Invalid, RequestTimeout, TooManyRequests, Unavailable or
        UnsupportedMediaType.
        """
        _require_identity(request)
        body = await _read(request.receive, limit, reservation)
        value = await self._parse(body) if body or is_required else None
        return JsonRequest(request, body, value)

    async def in_thread(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Run a function on a large body in the one thread for them, in turn."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(function, *arguments))

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False)

    def hold(self, key_id: str, size: int) -> None:
        """Count bytes that have arrived. Raises TooManyRequests or Unavailable."""
        if self._held_by[key_id] + size > MAX_HELD_PER_KEY:
            raise TooManyRequests(
                f"This key has {MAX_HELD_PER_KEY} bytes of other bodies under way", retry_after=1
            )
        if self._held + size > MAX_HELD:
            raise Unavailable("Too many large bodies are under way")
        self._held += size
        self._held_by[key_id] += size

    def release(self, key_id: str, size: int) -> None:
        """The bytes are no longer held."""
        self._held -= size
        self._held_by[key_id] -= size
        if not self._held_by[key_id]:
            del self._held_by[key_id]

    async def _parse(self, body: bytes) -> Any:
        if len(body) <= UNCOUNTED:
            return parse_json(body)
        return await self.in_thread(parse_json, body)


class Reservation:
    """The bytes that one request has in ``Bodies``."""

    def __init__(self, bodies: Bodies, key_id: str) -> None:
        self._bodies = bodies
        self._key_id = key_id
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bodies.release(self._key_id, self._size)

    def add(self, size: int) -> None:
        """Count bytes that have arrived. Raises TooManyRequests or Unavailable."""
        self._bodies.hold(self._key_id, size)
        self._size += size


def _require_identity(request: Request) -> None:
    encodings = request.headers.getlist("content-encoding")
    if encodings and ", ".join(encodings).strip().lower() not in ("", "identity"):
        raise UnsupportedMediaType("Send the body without a Content-Encoding")


async def _read(receive: Receive, limit: int, reservation: Reservation) -> bytes:
    """Read a body of at most ``limit`` bytes.

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
                reservation.add(len(chunks[-1]))
                more = message.get("more_body", False)
    except TimeoutError:
        raise RequestTimeout(
            f"The body did not arrive within {BODY_TIMEOUT:g} s", headers={"Connection": "close"}
        ) from None
    return b"".join(chunks)
