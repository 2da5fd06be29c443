"""The ASGI application: FastAPI, with `POST /dlr` served in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import State
from starlette.types import Receive, Scope, Send

from app.console.routes import routers as console
from app.feed.routes import router as feed
from app.lookup.routes import router as lookup
from app.ops import logs
from app.ops.alarms.routes import router as alarms
from app.ops.health import exposition
from app.ops.health import router as health
from app.receive.documentation import OPERATION, SECURITY, SECURITY_SCHEME
from app.receive.endpoint import PATH as DLR_PATH
from app.receive.endpoint import PATHS as DLR_PATHS
from app.receive.routes import router as rejected
from app.record.evidence.routes import router as evidence
from app.record.routes import router as record
from app.runtime.runtime import Runtime
from app.send.routes import router as send
from app.server.exits import on_exit
from app.server.hangups import on_hangup
from app.server.requests import CompleteRequest
from app.settings import NEEDED_TO_SERVE, Settings, load
from app.web.cors import add_cors
from app.web.docs import add_docs
from app.web.observed import ObservedRequests, series_of, spans_of_requests
from app.web.openapi import DESCRIPTION, TAGS, complete
from app.web.problems import add_error_handlers
from app.web.routing import operation_id
from app.web.security import with_security_headers
from app.webhooks.routes import payloads
from app.webhooks.routes import router as webhooks


class Service(FastAPI):
    """FastAPI, except for `/dlr`, which bypasses it because of its cost per receipt."""

    runtime: Runtime
    observed: ObservedRequests

    @property
    def complete_posts(self) -> Mapping[bytes, Callable[[CompleteRequest], None]]:
        """Handlers for requests that the server's protocol has read completely: most receipts."""
        return {path.encode(): self.runtime.dlr.answer_complete for path in DLR_PATHS}

    def has_precedence(self, scope: Scope) -> bool:
        """Whether a POST to one of these paths is a receipt, and not a stranger's call."""
        return self.runtime.dlr.is_authentic(scope["headers"], scope.get("client"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatch one request."""
        if scope["type"] == "http" and scope["path"] in DLR_PATHS:
            await self.runtime.dlr(scope, receive, send)
        elif scope["type"] == "http":
            send = with_security_headers(send)
            await self.observed.serve(super().__call__, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, with the operation of `/dlr`."""
        if self.openapi_schema is None:
            self.openapi_schema = complete(
                super().openapi(),
                paths={DLR_PATH: {"post": OPERATION}},
                schemes={SECURITY: SECURITY_SCHEME},
            )
        return self.openapi_schema


def create_app(settings: Settings) -> Service:
    """The application. No I/O before its lifespan starts."""
    runtime = Runtime(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        _prepare(app)
        await runtime.start()
        try:
            async with runtime.listen_for_operators():
                with on_exit(runtime.end_streams), on_hangup(runtime.secrets.request):
                    yield
        finally:
            await runtime.stop()

    app = Service(
        title="iovox-receipts",
        summary="Sends texts through iovox and tracks the delivery of each one.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        servers=[{"url": "/", "description": "Where this document comes from"}],
        lifespan=lifespan,
        redirect_slashes=False,
        strict_content_type=False,  # see `app.web.body.JsonRequest`
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=operation_id,
        telemetry=spans_of_requests(runtime.traces.provider),
    )
    app.runtime = runtime
    app.observed = ObservedRequests(runtime.metrics)
    _provide(app.state, runtime)
    add_error_handlers(app, has_docs=settings.docs)
    if settings.cors_origins:
        add_cors(app, settings.cors_origins.split(","))
    # In the order of their traffic: Starlette matches one route after the other, at 0.6 µs each,
    # which counts most for a lookup, the cheapest request.
    for router in (lookup, send):
        app.router.routes.extend(router.routes)
    for router in (feed, webhooks, rejected, record, evidence, alarms, health):
        app.include_router(router)
    if settings.console:
        for router in console:
            app.include_router(router)
    if settings.docs:
        add_docs(app)
    for router in (send, lookup, feed, webhooks, rejected, alarms, health):
        runtime.metrics.prepare_routes(series_of(router.routes))
    app.webhooks.include_router(payloads)
    return app


def _prepare(app: FastAPI) -> None:
    """Have FastAPI prepare the routes that were included, and the document: 0.2 s of computing.

    It would do so at the first request, or the first 405, and block the event loop meanwhile.
    """
    app.openapi()
    nowhere = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    for route in app.routes:
        route.matches(dict(nowhere))


def _provide(state: State, runtime: Runtime) -> None:
    """Set the objects that the routes' dependencies read from ``app.state``."""
    state.authenticator = runtime.authenticator
    state.callers = runtime.callers
    state.bodies = runtime.bodies
    state.default_region = runtime.settings.default_region
    state.sender = runtime.sender
    state.lookups = runtime.lookups
    state.feed = runtime.feed
    state.hub = runtime.hub
    state.subscriptions = runtime.subscriptions
    state.rejected = runtime.rejected
    state.auditor = runtime.auditor
    state.failures = runtime.failures
    state.eraser = runtime.eraser
    state.evidence = runtime.evidence
    state.watch = runtime.watch
    state.gauges = runtime.gauges
    state.spool = runtime.spool
    state.console = runtime.console
    state.keys = runtime.keys
    state.exposition = exposition(gauges=runtime.gauges, metrics=runtime.metrics)
    state.operations = runtime.operations


def from_environment() -> Service:
    """The application with the environment's settings: the factory that uvicorn calls."""
    settings = load(needs=NEEDED_TO_SERVE)
    logs.configure(level=settings.log_level, as_json=settings.log_format == "json")
    return create_app(settings)
