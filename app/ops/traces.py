"""Spans for OpenTelemetry. Without DLR_OTLP_ENDPOINT a tracer is the API's own that does nothing.

Spans carry ids and outcomes, by the names that they have in the log: never a text, a number or a
secret, and so no exception's message either, which may quote one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

import structlog
from opentelemetry.context import Context
from opentelemetry.trace import (
    NoOpTracer,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    format_trace_id,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

NO_TRACER: Tracer = NoOpTracer()
TRACEPARENT = "traceparent"

_propagator = TraceContextTextMapPropagator()


@contextmanager
def client_span(tracer: Tracer, name: str, **ids: UUID | str | None) -> Iterator[Span]:
    """A client span around one call to another service; an exception marks it as failed.

    Log lines that are written meanwhile have its trace.
    """
    with tracer.start_as_current_span(
        name,
        kind=SpanKind.CLIENT,
        attributes=as_attributes(ids),
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        if not span.is_recording():
            yield span
            return
        with structlog.contextvars.bound_contextvars(trace_id=trace_id_of(span)):
            try:
                yield span
            except BaseException:
                span.set_status(StatusCode.ERROR)
                raise


def annotate_span(**ids: UUID | str | None) -> None:
    """Set attributes of the current span, if there is one."""
    span = get_current_span()
    if span.is_recording():
        span.set_attributes(as_attributes(ids))


def injected_headers() -> dict[str, str]:
    """The headers that propagate the current span to a called service; none without a span."""
    headers: dict[str, str] = {}
    _propagator.inject(headers)
    return {name: value for name, value in headers.items() if name == TRACEPARENT}


def extracted_context(traceparent: bytes | None) -> Context:
    """The caller's span as the parent of ours; an invalid ``traceparent`` counts as none."""
    carrier = {} if traceparent is None else {TRACEPARENT: traceparent.decode("latin-1")}
    return _propagator.extract(carrier, context=Context())


def as_attributes(ids: Mapping[str, UUID | str | None]) -> dict[str, str]:
    """The ids that are known, as text."""
    return {name: str(value) for name, value in ids.items() if value is not None}


def trace_id_of(span: Span) -> str:
    """The trace id in hexadecimal, as in the log."""
    return format_trace_id(span.get_span_context().trace_id)
