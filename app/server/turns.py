"""Shares the event loop: of all connections together, a few requests begin in each iteration.

Hundreds of clients that send requests at the same time would otherwise have all of them begun in
one iteration, and a receipt, which takes several iterations, would wait for all of them each time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

AT_ONCE = 4
"""Requests that begin per iteration: a few milliseconds. Receipts are not among them."""
AT_ONCE_BESIDE_A_RECEIPT = 1
"""The same while a receipt is under way, which takes ten iterations and more."""


class Turns:
    """Begins requests in the order in which they came."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()
        self._left = AT_ONCE
        self._is_next_scheduled = False
        self.receipts = 0
        """Requests of the fast path that are not answered yet."""

    def begin(self, request: Callable[[], None]) -> None:
        """Call ``request`` now, or in one of the next iterations."""
        if not self._is_next_scheduled:
            self._is_next_scheduled = True
            self._left = self._share()
            self._loop.call_soon(self._next)
        if self._left and not self._waiting:
            self._left -= 1
            request()
        else:
            self._waiting.append(request)

    def _next(self) -> None:
        self._left = self._share()
        self._is_next_scheduled = bool(self._waiting)
        while self._left and self._waiting:
            self._left -= 1
            self._waiting.popleft()()
        if self._is_next_scheduled:
            self._loop.call_soon(self._next)

    def _share(self) -> int:
        return AT_ONCE_BESIDE_A_RECEIPT if self.receipts else AT_ONCE
