"""The simulator as a server: uvicorn, extended to close a connection without a response."""

from __future__ import annotations

import contextlib
import gc
import socket

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.simulator.behaviour import Behaviour
from app.simulator.main import create_simulator
from app.simulator.responses import CUT

_GRACE = 5
"""Seconds for open requests at shutdown; withheld responses are released at once."""


class CuttingProtocol(HttpToolsProtocol):
    """Provides the ASGI extension ``CUT``; a plain ASGI app could only end in a 500."""

    def on_message_begin(self) -> None:
        """Called by the parser at the start of each request."""
        super().on_message_begin()
        self.scope["extensions"] = {CUT: {"close": self._cut}}

    def _cut(self) -> None:
        self.transport.close()


class SimulatorServer(uvicorn.Server):
    """Releases withheld responses before it waits for open connections."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn at shutdown."""
        self._app.state.closing.set()
        await super().shutdown(sockets)


def make_server(app: FastAPI, *, host: str = "127.0.0.1", port: int = 8044) -> SimulatorServer:
    """A server for an app made by ``create_simulator``: ``run()`` it, or await ``serve()``."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=CuttingProtocol,
        access_log=False,
        log_config=None,  # logging is configured by the calling program
        log_level="warning",
        timeout_graceful_shutdown=_GRACE,
    )
    return SimulatorServer(config, app)


def serve(
    host: str = "127.0.0.1",
    port: int = 8044,
    *,
    username: str | None = None,
    secure_key: str | None = None,
    behaviour: Behaviour | None = None,
) -> None:
    """Run until interrupted. Pending receipts are discarded then."""
    app = create_simulator(username=username, secure_key=secure_key, behaviour=behaviour)
    # Garbage collections that scan the libraries' objects would delay responses.
    gc.collect()
    gc.freeze()
    with contextlib.suppress(KeyboardInterrupt):
        make_server(app, host=host, port=port).run()
