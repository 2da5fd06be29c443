"""Sends spans to an OpenTelemetry collector, by OTLP over HTTP. Needs the extra `otel`.

Imported only where DLR_OTLP_ENDPOINT is set. The variables of OpenTelemetry itself work as they do
elsewhere: OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_HEADERS, OTEL_BSP_*.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from importlib.metadata import version
from uuid import uuid4

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_SERVICE_NAME
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from app.ops.traces import trace_id_of

PATH = "/v1/traces"
TIMEOUT = 2.0
"""Seconds for the collector to take a batch, which is dropped otherwise. A stop waits as long."""
EXPORTED_ATTRIBUTES = frozenset(
    {
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "network.protocol.version",
        "url.scheme",
    }
)
"""Of a request's span. Paths and queries hold phone numbers, and so may a Host header."""
LIBRARY = "opentelemetry"

log = structlog.get_logger(__name__)


def tracer_provider(endpoint: str, *, name: str) -> TracerProvider:
    """Whose spans go to the collector at ``endpoint``, by a thread of its own. ``name``: ours."""
    logging.getLogger(LIBRARY).setLevel(logging.CRITICAL)  # `_Exporter` logs it once
    url = endpoint if endpoint.endswith(PATH) else endpoint + PATH
    named = {} if os.environ.get(OTEL_SERVICE_NAME) else {"service.name": name}
    provider = TracerProvider(
        resource=Resource.create(
            {
                **named,
                "service.version": version(name),
                "service.instance.id": str(uuid4()),
            }
        ),
        shutdown_on_exit=False,  # the runtime does it, within its time
    )
    provider.sampler = _AttributeFilter(provider.sampler)
    provider.add_span_processor(_LogCorrelation())
    exporter = _Exporter(OTLPSpanExporter(endpoint=url, timeout=TIMEOUT))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


class _AttributeFilter(Sampler):
    """Decides as ``inner`` does, and lets a request's span begin with EXPORTED_ATTRIBUTES alone.

    A sampler may replace a span's initial attributes; all later ones are set by us.
    """

    def __init__(self, inner: Sampler) -> None:
        self._inner = inner

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See `Sampler`."""
        if kind is SpanKind.SERVER:
            attributes = {
                key: said for key, said in (attributes or {}).items() if key in EXPORTED_ATTRIBUTES
            }
        return self._inner.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """See `Sampler`."""
        return self._inner.get_description()


class _LogCorrelation(SpanProcessor):
    """Puts the request's id on its span, and the span's trace into the request's log lines."""

    def on_start(
        self,
        span: Span,
        parent_context: Context | None = None,  # noqa: ARG002  its signature
    ) -> None:
        """See `SpanProcessor`: it runs where the request does."""
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        if span.kind is SpanKind.SERVER and request_id is not None:
            span.set_attribute("request_id", request_id)
            structlog.contextvars.bind_contextvars(trace_id=trace_id_of(span))


class _Exporter(SpanExporter):
    """Says when the collector takes nothing, and when it does again."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        result = self._inner.export(spans)
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            log.warning("traces_not_taken", consequence="spans are dropped until they are")
        elif self._fails and not fails:
            log.info("traces_taken")
        self._fails = fails
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `SpanExporter`."""
        return self._inner.force_flush(timeout_millis)
