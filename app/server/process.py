"""One server process: uvicorn's, except for how it stops listening and what it calls garbage."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
from typing import Any

from uvicorn import Server

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that computes lets another one compute. With Python's own 5 ms each
hand-over between the event loop and the threads of SQLite or the spool takes that long while the
loop is busy, and a receipt needs several.
"""
ITERATIONS_TO_CLOSE = 5
"""Turns of the event loop, after which its own hold on a listening socket is gone."""


class GracefulServer(Server):
    """Whoever was connected by the kernel before we stopped listening is answered.

    The kernel completes connections by itself and queues them for us. Closing the socket resets
    those that are still in the queue, and the receipts that they have sent already.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Set aside what there is by now, and start: it stays for good.

        Looking through all of that for garbage would hold up every caller for 70 ms, again and
        again.
        """
        sys.setswitchinterval(SWITCH_INTERVAL)
        gc.collect()
        gc.freeze()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, take who is still in the queue, and finish what is being answered."""
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
        gc.unfreeze()  # where the process goes on, as in tests

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
    """Take everyone out of the queue and close it, with as little time in between as there is."""
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
