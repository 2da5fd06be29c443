"""Reads request bodies from the open internet, bounded in size and in time."""

from __future__ import annotations

import asyncio

from app.errors import BodyTooLarge, RequestTimeout
from app.server.requests import Receive


class ClientDisconnected(Exception):
    """The connection was closed before the body was complete; there is nobody to respond to."""


class BodyReader:
    """Reads bodies of up to ``largest`` bytes; each has ``patience`` seconds to arrive."""

    def __init__(self, *, largest: int, patience: float) -> None:
        self._largest = largest
        self._patience = patience

    async def read(self, receive: Receive) -> bytes:
        """The complete body. Raises BodyTooLarge, RequestTimeout or ClientDisconnected."""
        try:
            async with asyncio.timeout(self._patience):
                return await self._read(receive)
        except TimeoutError:
            raise RequestTimeout(
                f"The body did not arrive within {self._patience:g} s",
                headers={"Connection": "close"},
            ) from None

    def too_large(self) -> BodyTooLarge:
        """The error for a larger body."""
        return BodyTooLarge(f"A receipt has at most {self._largest} bytes")

    async def _read(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size = 0
        is_complete = False
        while not is_complete:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._largest:
                raise self.too_large()
            is_complete = not message.get("more_body", False)
        return b"".join(chunks)
