"""The service as an ASGI application: `/dlr` in front, the framework behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from app import logs
from app.calls import WholeCall
from app.docs.routes import add_docs
from app.exits import on_exit
from app.health import health_routes
from app.lookup.answers import SCHEMAS as LOOKUP_SCHEMAS
from app.lookup.routes import lookup_routes
from app.notify.answers import SCHEMAS as NOTIFY_SCHEMAS
from app.notify.routes import STREAM_PATH, feed_routes, remember_connection, webhook_routes
from app.openapi import DESCRIPTION, complete
from app.receive import documentation as dlr
from app.receive.admin_routes import admin_routes
from app.receive.routes import PATH as DLR_PATH
from app.runtime import Runtime
from app.send.endpoint import PATH as SEND_PATH
from app.send.routes import send_routes
from app.settings import NEEDED_TO_SERVE, Settings, load
from app.web import handle_errors


class Service(FastAPI):
    """FastAPI, but for `/dlr`, which is answered before any of it: speed is durability there.

    So are a send, and a lookup by id, of which there are most: the framework's routing would cost
    as much as they do.
    """

    runtime: Runtime

    @property
    def whole_posts(self) -> Mapping[bytes, Callable[[WholeCall], None]]:
        """What the connection itself hands over, where it can: most receipts and sends."""
        return {
            DLR_PATH.encode(): self.runtime.dlr.answer_whole,
            SEND_PATH.encode(): self.runtime.send.answer_whole,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one connection."""
        if scope["type"] == "http" and scope["path"] == DLR_PATH:
            await self.runtime.dlr(scope, receive, send)
        elif scope["type"] == "http" and self.runtime.messages_by_id.takes(scope):
            await self.runtime.messages_by_id(scope, receive, send)
        elif scope["type"] == "http" and self.runtime.send.takes(scope):
            await self.runtime.send(scope, receive, send)
        else:
            if scope["type"] == "http" and scope["path"] == STREAM_PATH:
                remember_connection(scope, send)
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The document, with what is answered in front of the framework."""
        if self.openapi_schema is None:
            self.openapi_schema = complete(
                super().openapi(),
                paths={DLR_PATH: {"post": dlr.OPERATION}},
                schemas=LOOKUP_SCHEMAS | NOTIFY_SCHEMAS,
                schemes={dlr.SECURITY: dlr.SECURITY_SCHEME},
            )
        return self.openapi_schema


def create_app(settings: Settings) -> Service:
    """The application. Connects to nothing before its lifespan starts."""
    runtime = Runtime(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await runtime.start()
        try:
            with on_exit(runtime.end_streams):
                yield
        finally:
            await runtime.stop()

    app = Service(
        title="iovox-receipts",
        summary="Sends texts through iovox and knows, provably, what became of each one.",
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.runtime = runtime
    handle_errors(app)
    add_docs(app)
    app.include_router(
        send_routes(
            sender=runtime.sender, rates=runtime.key_rates, authenticator=runtime.authenticator
        )
    )
    app.include_router(lookup_routes(lookups=runtime.lookups, authenticator=runtime.authenticator))
    app.include_router(
        feed_routes(feed=runtime.feed, hub=runtime.hub, authenticator=runtime.authenticator)
    )
    app.include_router(
        webhook_routes(subscriptions=runtime.subscriptions, authenticator=runtime.authenticator)
    )
    app.include_router(admin_routes(store=runtime.rejected, authenticator=runtime.authenticator))
    app.include_router(
        health_routes(watch=runtime.watch, spool=runtime.spool, metrics=runtime.metrics)
    )
    return app


def from_environment() -> Service:
    """The application as the environment describes it: what a server process imports."""
    settings = load(needs=NEEDED_TO_SERVE)
    logs.configure(level=settings.log_level, as_json=settings.log_format == "json")
    return create_app(settings)
