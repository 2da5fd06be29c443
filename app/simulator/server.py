"""The simulator on a port: uvicorn, taught to close a connection without an answer."""

from __future__ import annotations

import contextlib
import gc
import socket

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.simulator.answers import CUT
from app.simulator.behaviour import Behaviour
from app.simulator.main import create_simulator

_GRACE = 5
"""Seconds for answers under way at shutdown; what is withheld on purpose is released at once."""


class CuttingProtocol(HttpToolsProtocol):
    """Offers the app the extension ``CUT``: a lost answer is a closed connection, not a 500."""

    def on_message_begin(self) -> None:
        """Called by the parser at the start of each request."""
        super().on_message_begin()
        self.scope["extensions"] = {CUT: {"close": self._cut}}

    def _cut(self) -> None:
        self.transport.close()


class SimulatorServer(uvicorn.Server):
    """Releases what is withheld before it waits for open connections, or it would wait for long."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn when it is told to exit."""
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
        log_config=None,  # logging belongs to the program that we run in
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
    """Run until interrupted. Receipts that are pending then are dropped."""
    app = create_simulator(username=username, secure_key=secure_key, behaviour=behaviour)
    # Looking through all the libraries for garbage would now and then delay everyone's answers.
    gc.collect()
    gc.freeze()
    with contextlib.suppress(KeyboardInterrupt):
        make_server(app, host=host, port=port).run()
