"""Reads request bodies from the open internet, bounded in size and in time."""

from __future__ import annotations

import asyncio
from typing import Any

from app.errors import BodyTooLarge, RequestTimeout
from app.server.requests import Receive

LOOK_EVERY = 0.5
"""Seconds between looks for bodies that take too long."""


class ClientDisconnected(Exception):
    """The connection was closed before the body was complete; there is nobody to respond to."""


class BodyReader:
    """Reads bodies of up to ``largest`` bytes; each has ``patience`` seconds to arrive.

    One timer looks after all of them. A timer for each would cost more than reading a receipt,
    whose body is nearly always there by the time that anybody asks for it.
    """

    def __init__(self, *, largest: int, patience: float) -> None:
        self._largest = largest
        self._patience = patience
        self._reading: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, receive: Receive) -> bytes:
        """The complete body. Raises BodyTooLarge, RequestTimeout or ClientDisconnected."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("bodies are read by tasks")
        self._reading[task] = loop.time() + self._patience
        if self._timer is None:
            self._timer = loop.call_later(LOOK_EVERY, self._look)
        try:
            return await self._read(receive)
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise RequestTimeout(
                f"The body did not arrive within {self._patience:g} s",
                headers={"Connection": "close"},
            ) from None
        finally:
            self._late.discard(task)
            del self._reading[task]

    def too_large(self) -> BodyTooLarge:
        """The error for a larger body."""
        return BodyTooLarge(f"A receipt has at most {self._largest} bytes")

    async def _read(self, receive: Receive) -> bytes:
        message = await receive()
        chunks: list[bytes] = [message.get("body", b"")]
        size = len(chunks[0])
        while message.get("more_body") and size <= self._largest:
            message = await receive()
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        if size > self._largest:
            raise self.too_large()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _look(self) -> None:
        """Break off what is late. The oldest come first, so most looks end at the first."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task, deadline in self._reading.items():
            if deadline > now:
                break
            self._late.add(task)
            task.cancel()
        self._timer = loop.call_later(LOOK_EVERY, self._look) if self._reading else None
