"""A request that came whole, as the connection hands it over, and the way to answer it."""

from __future__ import annotations

from typing import Protocol

Headers = list[tuple[bytes, bytes]]


class WholeCall(Protocol):
    """A POST whose last byte came with its first. Names of headers are in small letters."""

    headers: Headers
    body: bytes
    client: tuple[str, int] | None

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Write the answer; to be called once, at any time, also when the caller is gone."""
