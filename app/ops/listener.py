"""The second port, for operators alone: /metrics, /healthz and /readyz.

The processes of one server share it, since each of them answers for all.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from app.errors import ConfigurationError
from app.ops.health import router as health
from app.web.observed import spans_of_requests
from app.web.problems import add_error_handlers


class _Server(uvicorn.Server):
    """Leaves signals to the process that it is part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class OpsListener:
    """Serves ``app`` at ``address`` while it is entered; None: nowhere."""

    def __init__(self, app: ASGIApp, address: tuple[str, int] | None) -> None:
        self._app = app
        self._address = address
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._address is not None:
            listener = listen(self._address)
            config = uvicorn.Config(
                self._app,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
            self._server = _Server(config)
            self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await asyncio.wait({self._serving}, timeout=2)


def operators_app(**parts: object) -> FastAPI:
    """Health and metrics alone. ``parts``: what their routes find in ``app.state``."""
    app = FastAPI(
        openapi_url=None, docs_url=None, redoc_url=None, telemetry=spans_of_requests(None)
    )
    for name, part in parts.items():
        setattr(app.state, name, part)
    add_error_handlers(app, has_docs=False)
    app.include_router(health)
    return app


def listen(address: tuple[str, int]) -> socket.socket:
    """Raises ConfigurationError."""
    host, port = address
    try:
        family, kind, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
    except OSError as error:
        raise ConfigurationError(
            f"DLR_OPS_PORT cannot be used: {host} port {port}: {error.strerror}"
        ) from None
    return listener
