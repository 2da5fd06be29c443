"""Fair scheduling of the event loop: of all connections together, only a few requests begin in each
iteration, in the order in which they came.

Otherwise the requests that hundreds of clients send at the same time would all begin in one
iteration, and a receipt, which takes several iterations, would wait for all of them each time.

While a receipt is under way the loop also has to be idle now and then. SQLite and the spool work in
threads, and a thread hardly gets the interpreter's lock from a loop that releases it for
microseconds only, between two iterations (thousands of requests began before one receipt was
stored). So after a few requests the loop rests before the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from uvicorn.server import ServerState

from app.server.requests import Receive, Scope, Send

AT_ONCE = 4
"""Requests that begin per iteration: a few milliseconds. Receipts are not among them."""
AT_ONCE_BESIDE_A_RECEIPT = 1
"""The same while a receipt is under way, which takes ten iterations and more."""
BESIDE_A_RECEIPT = 16
"""Requests that begin while receipts are under way, and none is answered, without a rest between
them: 10 ms or so. A receipt that waits for nothing else is answered before."""
REST = 0.002
"""Seconds between two requests from then on: longer than most take, so that the loop is idle."""


class Turns:
    """Begins requests in the order in which they came."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()
        self._left = AT_ONCE
        self._is_next_scheduled = False
        self._receipts = 0
        self._beside = 0
        """Requests that began since a receipt was answered, or since there is one under way."""

    def receipt_begins(self) -> None:
        """A receipt is under way; until ``receipt_ends`` is called for it, it has precedence."""
        if not self._receipts:
            self._beside = 0
        self._receipts += 1

    def receipt_ends(self) -> None:
        """A receipt is answered."""
        self._receipts -= 1
        self._beside = 0

    def receipt_refused(self) -> None:
        """The call was not authenticated, so its answer waits for its turn: 200 connections that
        made such calls one after the other delayed receipts by a second and a half.
        """
        self._receipts -= 1

    def as_receipt(self, app: Any) -> Any:
        """The application for a receipt that takes the ASGI path, and waits for no turn."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            self.receipt_begins()
            try:
                await app(scope, receive, send)
            finally:
                self.receipt_ends()

        return answer

    def begin(self, request: Callable[[], None]) -> None:
        """Call ``request`` now, or in one of the next iterations."""
        if not self._is_next_scheduled:
            self._left = self._share()
            self._schedule_next()
        if self._left and not self._waiting:
            self._start(request)
        else:
            self._waiting.append(request)

    def _next(self) -> None:
        self._is_next_scheduled = False
        self._left = self._share()
        while self._left and self._waiting:
            self._start(self._waiting.popleft())
        if self._waiting:
            self._schedule_next()

    def _start(self, request: Callable[[], None]) -> None:
        self._left -= 1
        if self._receipts:
            self._beside += 1
        request()

    def _schedule_next(self) -> None:
        self._is_next_scheduled = True
        if self._receipts and self._beside >= BESIDE_A_RECEIPT:
            self._loop.call_later(REST, self._next)
        else:
            self._loop.call_soon(self._next)

    def _share(self) -> int:
        return AT_ONCE_BESIDE_A_RECEIPT if self._receipts else AT_ONCE


def turns_of(state: ServerState, loop: asyncio.AbstractEventLoop) -> Turns:
    """The turns that all connections of a server share."""
    turns: Turns | None = getattr(state, "turns", None)
    if turns is None:
        turns = Turns(loop)
        state.turns = turns  # type: ignore[attr-defined]
    return turns
