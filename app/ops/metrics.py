"""The metrics for Prometheus: one object that is passed around, no global registry.

Several server processes share the files of prometheus_client's multiprocess mode, so a scrape that
reaches any of them tells of all. That mode is chosen by PROMETHEUS_MULTIPROC_DIR when the library
is imported: `dlr serve` sets it for the processes that it starts.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable of the folder that the processes of one service share."""

RECEIPT_STATUSES = ("ACKNOWLEDGED", "BUFFERED", "FAILED", "EXPIRED", "DELIVERED")
OTHER = "other"
"""The label of values that are in no list, so that callers cannot add series."""
REFUSALS = (
    "secret",
    "unreadable",
    "invalid",
    "too-large",
    "too-slow",
    "method",
    "unavailable",
)
"""Why a call to /dlr is not answered 200. Those of `unreadable` and `invalid` are kept."""
OUTCOMES = ("submitted", "refused-by-iovox", "not-sent", "outcome-unknown")
COUNTED_STATES = ("SENDING", "UNCONFIRMED", "overdue")
WEBHOOK_OUTCOMES = ("taken", "failed")
METHODS = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS")

QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
SLOW = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LAGS = (-7200, -3660, -3540, -60, 0, 2, 5, 15, 60, 300, 900, 3540, 3660, 7200, 86_400)
"""Bucket bounds in seconds: around whole hours, by which a wrong time zone is off, and at a minute,
from which the alarm `zone` is raised."""


class BatchHistogram(Histogram):
    """A histogram that takes many observations at once, at the cost of a few."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe each amount."""
        self._sum.inc(sum(amounts))
        for place, count in Tally(bisect_left(self._upper_bounds, one) for one in amounts).items():
            self._buckets[place].inc(count)


class Metrics:
    """Counters, gauges and histograms of one process, or of all that share a folder."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the shared files have none
        self.registry = CollectorRegistry()
        self._shared = os.environ.get(SHARED)
        self._make_receiving()
        self._make_sending()
        self._make_requests()
        self._make_state()
        self._make_tables()
        if self._shared is None:
            ProcessCollector(registry=self.registry)

    def _make_receiving(self) -> None:
        self.receipts = self._counter(
            "receipts", "Receipts answered 200, by status", "status", (*RECEIPT_STATUSES, OTHER)
        )
        self.receipts_refused = self._counter(
            "receipts_refused", "Calls to /dlr that were not answered 200", "reason", REFUSALS
        )
        self.receipt_seconds = BatchHistogram(
            "dlr_receipt_seconds",
            "From a complete call to /dlr to its answer 200",
            buckets=QUICK,
            registry=self.registry,
        )
        self.receipt_lag = BatchHistogram(
            "dlr_receipt_lag_seconds",
            "A receipt's arrival less the time that iovox gave it; negative where that lies ahead",
            buckets=LAGS,
            registry=self.registry,
        )
        self.receipts_stored = self._counter("receipts_stored", "Receipts committed")
        self.receipts_rejected = self._counter(
            "receipts_rejected", "Authenticated calls that could not be understood, all kept"
        )
        self.receipts_spooled = self._counter(
            "receipts_spooled", "Receipts kept on local disk because the database was away"
        )
        self.receipts_drained = self._counter(
            "receipts_drained", "Receipts carried from the spool into the database"
        )
        self.spool_depth = self._gauge("spool_depth", "Receipts that wait in the spool")
        self.spool_oldest = self._gauge(
            "spool_oldest_seconds", "How long the oldest of them has waited"
        )
        self.spool_free = self._gauge("spool_free_bytes", "Free bytes of the disk of the spool")
        self.last_receipt = self._gauge(
            "last_receipt_timestamp_seconds", "When the last receipt was taken; 0: never", "max"
        )

    def _make_sending(self) -> None:
        self.sends = self._counter(
            "sends", "Attempts to submit a message, by outcome", "outcome", OUTCOMES
        )
        self.iovox_seconds = self._histogram(
            "iovox_request_seconds",
            "From the beginning of a request to iovox to its outcome",
            "outcome",
            OUTCOMES,
        )
        self.credentials_refused = self._counter(
            "iovox_credentials_refused", "Answers 401 or 403 of iovox: our keys are at fault"
        )
        self.last_submission = self._gauge(
            "last_submission_timestamp_seconds",
            "When iovox last accepted a message; 0: never",
            "max",
        )
        self.circuit_open = self._gauge(
            "circuit_open", "1 while sends are held back because iovox fails", "livemax"
        )
        self.webhook_attempts = self._counter(
            "webhook_attempts", "Calls to webhooks, by outcome", "outcome", WEBHOOK_OUTCOMES
        )

    def _make_requests(self) -> None:
        self.http_requests = Counter(
            "dlr_http_requests",
            "Requests that were answered",
            ["route", "method", "code"],
            registry=self.registry,
        )
        self.http_seconds = Histogram(
            "dlr_http_request_seconds",
            "To the beginning of the answer; those of /dlr are in dlr_receipt_seconds",
            ["route"],
            buckets=QUICK,
            registry=self.registry,
        )
        self.streams_open = self._gauge(
            "streams_open", "Event streams that are being read", "livesum"
        )

    def _make_state(self) -> None:
        self.database_up = self._gauge(
            "database_up", "1 while the database can be used, by each process", "livemin"
        )
        self.evidence_lag = self._gauge(
            "evidence_lag_seconds", "Age of the oldest fact that the evidence log does not have yet"
        )
        self.evidence_size = self._gauge("evidence_size", "Facts in the evidence log")
        self.pool_in_use = self._gauge(
            "database_pool_in_use", "Database connections in use", "livesum"
        )
        self.clock_offset = self._gauge(
            "clock_offset_seconds", "By how much this host's clock is ahead of the database's"
        )
        self.alarms = Gauge(
            "dlr_alarm",
            "1 while the service itself raises this alarm",
            ["alarm"],
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        build = Gauge(
            "dlr_build_info",
            "1; its label is the release",
            ["version"],
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        build.labels(version("iovox-receipts")).set(1)

    def _make_tables(self) -> None:
        """Read once in an interval for all replicas: see `app.store.gauges`."""
        self.queue_depth = self._gauge("queue_depth", "Messages that are QUEUED")
        self.queue_oldest = self._gauge(
            "queue_oldest_seconds", "For how long the message that is due for longest has been due"
        )
        self.messages = Gauge(
            "dlr_messages",
            "Messages that are SENDING, UNCONFIRMED, or overdue",
            ["status"],
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )
        for state in COUNTED_STATES:
            self.messages.labels(state).set(0)
        self.unmatched = self._gauge("unmatched_ids", "Ids that are known from receipts alone")
        self.webhook_backlog = self._gauge("webhook_backlog", "Deliveries that wait for webhooks")
        self.webhooks_paused = self._gauge(
            "webhooks_paused", "Webhooks that were paused because their receivers fail"
        )

    def documentation(self) -> list[tuple[str, str]]:
        """Every metric's name, as Prometheus writes it, and what it says."""
        return sorted(
            (f"{one.name}_total" if one.type == "counter" else one.name, one.documentation)
            for one in self.registry.collect()
        )

    def prepare_routes(self, routes: Iterable[tuple[str, str, int]]) -> None:
        """Make the series of these routes, methods and codes, all 0."""
        for route, method, code in routes:
            self.http_requests.labels(route, method, str(code))
            self.http_seconds.labels(route)

    def render(self) -> bytes:
        """The metrics in Prometheus' text format, of all processes that share them."""
        if self._shared is None:
            return generate_latest(self.registry)
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone, self._shared)  # type: ignore[no-untyped-call]
        everyone.register(_Processes(Path(self._shared)))
        return generate_latest(everyone)

    def _counter(
        self, name: str, description: str, label: str | None = None, values: Iterable[str] = ()
    ) -> Counter:
        labels = () if label is None else (label,)
        made = Counter(f"dlr_{name}", description, labels, registry=self.registry)
        for value in values:
            made.labels(value)
        return made

    def _histogram(
        self, name: str, description: str, label: str, values: Iterable[str]
    ) -> Histogram:
        made = Histogram(f"dlr_{name}", description, [label], buckets=SLOW, registry=self.registry)
        for value in values:
            made.labels(value)
        return made

    def _gauge(self, name: str, description: str, mode: str = "livemostrecent") -> Gauge:
        """``mode``: how the values of several processes make one; see prometheus_client."""
        made = Gauge(
            f"dlr_{name}",
            description,
            registry=self.registry,
            multiprocess_mode=mode,  # type: ignore[arg-type]
        )
        made.set(0)  # there is no series before the first value
        return made


class _Processes(Collector):
    """`process_*` of all live processes together, which the multiprocess mode leaves out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """The families of prometheus_client's ProcessCollector: sums, and the newest start."""
        together: dict[str, Metric] = {}
        for path in sorted(self._folder.glob("gauge_livemax_*.db")):
            pid = path.stem.rpartition("_")[2]
            for family in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                self._add(together, family)
        return together.values()

    @staticmethod
    def _add(together: dict[str, Metric], family: Metric) -> None:
        value = family.samples[0].value
        if family.name in together:
            before = together[family.name].samples[0].value
            is_start = family.name == "process_start_time_seconds"
            value = max(value, before) if is_start else value + before
        kind = CounterMetricFamily if family.type == "counter" else GaugeMetricFamily
        together[family.name] = kind(family.name, family.documentation, value=value)
