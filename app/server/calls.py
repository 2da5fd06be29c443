"""Requests as a server hands them over; one that came whole, also without a task of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class CompleteRequest(Protocol):
    """A POST whose last byte came with its first. Names of headers are in small letters."""

    headers: Headers
    body: bytes
    client: tuple[str, int] | None

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Write the answer; to be called once, at any time, also when the caller is gone."""
