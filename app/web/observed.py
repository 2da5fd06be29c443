"""Metrics, request ids and trace ids of every request but those of ``/dlr``.

The caller is the open internet: an id or a trace in a wrong form is ignored.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from secrets import token_hex
from typing import Any

import structlog
from fastapi.telemetry import TelemetryConfig
from opentelemetry.trace import TracerProvider
from prometheus_client import Counter, Histogram
from starlette.routing import BaseRoute
from starlette.types import Message, Receive, Scope, Send

from app.ops.logs import is_request_id
from app.ops.metrics import METHODS, OTHER, Metrics

REQUEST_ID, TRACEPARENT = b"x-request-id", b"traceparent"
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

ASKED_BY_MACHINES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Polled by orchestrators and Prometheus: no spans are made of these requests."""

_CONVERTER = re.compile(r":[^}/]*}")

Headers = list[tuple[bytes, bytes]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class ObservedRequests:
    """Wraps the framework's application."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    async def serve(self, app: Application, scope: Scope, receive: Receive, send: Send) -> None:
        """Let ``app`` answer one HTTP request."""
        began = time.perf_counter()
        identity = _identify(scope)
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *identity]
                self._count(scope, status, time.perf_counter() - began)
            await send(message)

        await app(scope, receive, sending)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", OTHER)
        method = scope["method"] if scope["method"] in METHODS else OTHER
        series = self._series.get((route, method, status))
        if series is None:  # finding them costs more than incrementing them
            name = _label_of(route)
            series = self._series[route, method, status] = (
                self._metrics.http_requests.labels(name, method, str(status)),
                self._metrics.http_seconds.labels(name),
            )
        series[0].inc()
        series[1].observe(seconds)


def spans_of_requests(provider: TracerProvider | None) -> TelemetryConfig:
    """For FastAPI, which makes a span of each request where there is a provider.

    Without one it makes none, whatever OpenTelemetry's own variables say: its default spans hold
    paths and queries, in which there are phone numbers, and the texts of exceptions.
    """
    return TelemetryConfig(
        tracing=provider is not None,
        tracer_provider=provider,
        metrics=False,
        logs=False,
        operation_spans=False,
        auto_configure=False,
        exclude=lambda scope: scope["path"] in ASKED_BY_MACHINES,
    )


def _label_of(path: str) -> str:
    """A route's path as the document has it, without the converters of parameters."""
    return _CONVERTER.sub("}", path)


def _identify(scope: Scope) -> Headers:
    """Put the request's id and its trace into the log's context; returns them as headers."""
    request_id, identity = token_hex(16).encode(), []
    for name, value in scope["headers"]:
        if name == REQUEST_ID and is_request_id(value):
            request_id = value
        elif name == TRACEPARENT and (trace := _TRACEPARENT.fullmatch(value)):
            identity = [(TRACEPARENT, value)]
            structlog.contextvars.bind_contextvars(trace_id=trace[1].decode())
    structlog.contextvars.bind_contextvars(request_id=request_id.decode())
    return [*identity, (REQUEST_ID, request_id)]


def series_of(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, str, int]]:
    """The label, method and status of each series, by what the routes declare."""
    for route in routes:
        each: Any = route
        codes = [getattr(each, "status_code", None) or 200, *getattr(each, "responses", ())]
        for method in sorted(getattr(each, "methods", None) or ()):
            for code in codes:
                if str(code).isdigit():
                    yield _label_of(each.path), method, int(code)
