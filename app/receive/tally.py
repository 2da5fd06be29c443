"""Metrics, log lines and spans of the calls to ``/dlr``, for many at once: one by one they would
cost a tenth of a receipt's CPU (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from opentelemetry.trace import SpanKind, Tracer

from app.errors import ServiceError
from app.model.london import TimeQuality, parse_local_time
from app.model.receipt import Receipt
from app.ops.logs import StepLog, is_request_id
from app.ops.metrics import METHODS, OTHER, RECEIPT_STATUSES, Metrics
from app.ops.recent import Recent
from app.ops.traces import NO_TRACER, as_attributes, extracted_context
from app.server.requests import Headers

ROUTE = "/dlr"
REASONS = {
    400: "unreadable",
    401: "secret",
    405: "method",
    408: "too-slow",
    413: "too-large",
    422: "invalid",
}
"""The reason of a refusal by its HTTP status; for any other it is ``unavailable``."""
CODES = (200, *REASONS, 500, 503)
REQUEST_ID_HEADER, TRACEPARENT_HEADER = b"x-request-id", b"traceparent"
SPAN = f"POST {ROUTE}"
SPAN_ATTRIBUTES: dict[str, str | int] = {
    "http.request.method": "POST",
    "http.route": ROUTE,
    "http.response.status_code": 200,
}

Taken = tuple[Receipt, float, str | None, Headers]
"""A receipt, how many seconds it took, the request's id, and its headers."""

_HAVE_NO_TIME = frozenset({TimeQuality.RECEIVED, TimeQuality.AHEAD})


class Tally:
    """Receipts are collected, and counted together in the event loop's next iteration."""

    def __init__(
        self, *, metrics: Metrics, recent: Recent, steps: StepLog, tracer: Tracer = NO_TRACER
    ) -> None:
        self._metrics = metrics
        self._recent = recent
        self._steps = steps
        self._tracer = tracer
        self._taken: list[Taken] = []
        self._statuses = {name: metrics.receipts.labels(name) for name in RECEIPT_STATUSES}
        self._other = metrics.receipts.labels(OTHER)
        for code in CODES:
            metrics.http_requests.labels(ROUTE, "POST", str(code))
        self._answered = metrics.http_requests.labels(ROUTE, "POST", "200")

    def taken(
        self, receipt: Receipt, began: float, request_id: str | None, headers: Headers
    ) -> None:
        """A receipt was answered 200. ``began``: by the monotonic clock."""
        if not self._taken:
            asyncio.get_running_loop().call_soon(self._count)
        self._taken.append((receipt, time.monotonic() - began, request_id, headers))

    def refused(self, error: ServiceError, method: str = "POST") -> None:
        """A call was answered with this problem."""
        reason = REASONS.get(error.status, "unavailable")
        self._metrics.receipts_refused.labels(reason).inc()
        name = method if method in METHODS else OTHER
        self._metrics.http_requests.labels(ROUTE, name, str(error.status)).inc()
        self._recent.refused(reason)

    def _count(self) -> None:
        taken, self._taken = self._taken, []
        metrics = self._metrics
        for status, count in Counter(receipt.content.status for receipt, *_ in taken).items():
            self._statuses.get(status, self._other).inc(count)
        self._answered.inc(len(taken))
        metrics.receipt_seconds.observe_all([seconds for _, seconds, *_ in taken])
        lags = [lag for receipt, *_ in taken if (lag := lag_of(receipt)) is not None]
        metrics.receipt_lag.observe_all(lags)
        metrics.last_receipt.set_to_current_time()
        self._recent.took(lags)
        if self._steps.is_on:
            self._steps.log_all(
                "receipt", [_line(receipt, request_id) for receipt, _, request_id, _ in taken]
            )
        if self._tracer is not NO_TRACER:
            self._trace(taken)

    def _trace(self, taken: Sequence[Taken]) -> None:
        """A span of each call, made after the fact: one that is open meanwhile costs more CPU."""
        ended = time.time_ns()
        for receipt, seconds, request_id, headers in taken:
            span = self._tracer.start_span(
                SPAN,
                context=extracted_context(dict(headers).get(TRACEPARENT_HEADER)),
                kind=SpanKind.SERVER,
                attributes=SPAN_ATTRIBUTES,
                start_time=ended - int(seconds * 1e9),
            )
            if span.is_recording():
                span.set_attributes(as_attributes(_line(receipt, request_id)))
            span.end(ended)


def lag_of(receipt: Receipt) -> float | None:
    """Seconds from the time in a receipt to its arrival; None if it has none."""
    at, received_at = receipt.content.at, receipt.arrival.received_at
    if receipt.content.time_quality in _HAVE_NO_TIME:
        found = parse_local_time(receipt.content.receipt_timestamp or "")
        if found is None:
            return None
        at = found.earlier
    return (received_at - at).total_seconds()


def request_id_of(headers: Headers) -> str | None:
    """The X-Request-Id of a call, if it is a valid one."""
    for name, value in headers:
        if name == REQUEST_ID_HEADER:
            return value.decode("ascii") if is_request_id(value) else None
    return None


def answered_headers(request_id: str | None) -> Headers:
    """The response headers that return it."""
    return [] if request_id is None else [(REQUEST_ID_HEADER, request_id.encode())]


def _line(receipt: Receipt, request_id: str | None) -> dict[str, str | None]:
    hint = receipt.arrival.hint
    return {
        "message_id": str(hint) if hint else None,
        "sms_activity_id": receipt.sms_activity_id,
        "status": status if (status := receipt.content.status) in RECEIPT_STATUSES else OTHER,
        "request_id": request_id,
    }
