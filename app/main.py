"""The service as an ASGI application: `/dlr` in front, the framework behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from app import logs
from app.health import health_routes
from app.lookup.routes import lookup_routes
from app.receive.routes import PATH as DLR_PATH
from app.runtime import Runtime
from app.send.routes import send_routes
from app.settings import NEEDED_TO_SERVE, Settings, load
from app.web import handle_errors


class Service(FastAPI):
    """FastAPI, but for `/dlr`, which is answered before any of it: speed is durability there."""

    runtime: Runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one connection."""
        if scope["type"] == "http" and scope["path"] == DLR_PATH:
            await self.runtime.dlr(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(settings: Settings) -> Service:
    """The application. Connects to nothing before its lifespan starts."""
    runtime = Runtime(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await runtime.start()
        try:
            yield
        finally:
            await runtime.stop()

    app = Service(
        title="iovox-receipts",
        summary="Sends texts through iovox and knows, provably, what became of each one.",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.runtime = runtime
    handle_errors(app)
    app.include_router(send_routes(sender=runtime.sender, authenticator=runtime.authenticator))
    app.include_router(
        lookup_routes(
            store=runtime.history,
            authenticator=runtime.authenticator,
            patience=timedelta(seconds=settings.overdue_after),
        )
    )
    app.include_router(
        health_routes(watch=runtime.watch, spool=runtime.spool, metrics=runtime.metrics)
    )
    return app


def from_environment() -> Service:
    """The application as the environment describes it: what a server process imports."""
    settings = load(needs=NEEDED_TO_SERVE)
    logs.configure(level=settings.log_level, as_json=settings.log_format == "json")
    return create_app(settings)
