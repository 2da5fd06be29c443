"""One server process: uvicorn's Server, which drains the accept queue when it stops listening, and
runs the garbage collector seldom.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from typing import Any

from uvicorn import Server

from app.server.garbage import QuietCollector

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread gives up the interpreter's lock to one that waits for it. With
Python's own 5 ms each switch between the event loop and the threads of SQLite or the spool takes
that long while the loop is busy, and a receipt needs several.
"""
ITERATIONS_TO_CLOSE = 5
"""Iterations of the event loop after which asyncio has released a listening socket."""

OBJECTS_A_COLLECTION = 100_000
"""Container objects made, less those freed, that start a garbage collection. A send under way has
about 100, and hundreds begin and end together: with 20,000 a seventh of a send's CPU at full load
was collections that found nothing. A request leaves no cycles, a closed connection 40 objects.
"""


class GracefulServer(Server):
    """A server that still answers connections in the accept queue when it stops listening.

    The kernel completes connections and queues them. Closing the listening socket resets those that
    are still in the queue, and the receipts that they have sent already are lost.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Freeze the objects that exist by now, collect garbage less often, and start.

        These objects live as long as the process. Each full garbage collection would scan them all,
        for 70 ms, while every caller waits. And a few requests make as many objects as start a
        collection by default, nearly all of them freed without one (docs/performance.md).
        """
        sys.setswitchinterval(SWITCH_INTERVAL)
        gc.collect()
        gc.freeze()
        self._gc_threshold = gc.get_threshold()
        gc.set_threshold(OBJECTS_A_COLLECTION, *self._gc_threshold[1:])
        self._collector = QuietCollector()
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Every tenth of a second, by uvicorn: whether to exit."""
        self._collector.look()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, accept what is still queued, and finish the requests under way."""
        listeners = [
            socket.socket(fileno=os.dup(each.fileno()))
            for one in self.servers
            for each in one.sockets
        ]
        for each in self.servers:
            each.close()
        for listener in sockets or []:
            listener.close()
        for _ in range(ITERATIONS_TO_CLOSE):
            await asyncio.sleep(0)
        queued = [caller for listener in listeners for caller in _close(listener)]
        for caller in queued:
            await self._serve_queued(caller)
        await super().shutdown(sockets)
        gc.unfreeze()  # for a process that continues, as in tests
        gc.set_threshold(*self._gc_threshold)

    async def _serve_queued(self, caller: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        make: Any = self.config.http_protocol_class

        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = make(
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
                _loop=loop,
            )
            return made

        await loop.connect_accepted_socket(protocol, caller, ssl=self.config.ssl)


def _close(listener: socket.socket) -> list[socket.socket]:
    """Accept all queued connections, and close the listener immediately afterwards."""
    listener.setblocking(False)
    callers = []
    try:
        while True:
            caller = listener.accept()[0]
            caller.setblocking(False)
            callers.append(caller)
    except OSError:
        listener.close()
    return callers
