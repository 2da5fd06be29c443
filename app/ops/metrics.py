"""The metrics for Prometheus: one object that is passed around, no global registry."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class Metrics:
    """Counters and gauges of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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
        self.callbacks_refused = self._counter(
            "callbacks_refused", "Calls to /dlr without the secret header"
        )
        self.spool_depth = self._gauge("spool_depth", "Receipts that wait in the spool")
        self.database_up = self._gauge("database_up", "1 while the database can be used")
        self.clock_offset = self._gauge(
            "clock_offset_seconds", "By how much this host's clock is ahead of the database's"
        )
        self.sends = Counter(
            "dlr_sends", "Attempts to submit a message", ["outcome"], registry=self.registry
        )
        self.credentials_refused = self._counter(
            "iovox_credentials_refused", "Answers 401 or 403 of iovox: our keys are at fault"
        )
        self.streams_open = self._gauge("streams_open", "Event streams that are being read")
        self.webhook_attempts = Counter(
            "dlr_webhook_attempts", "Calls to webhooks", ["outcome"], registry=self.registry
        )

    def render(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, description: str) -> Counter:
        return Counter(f"dlr_{name}", description, registry=self.registry)

    def _gauge(self, name: str, description: str) -> Gauge:
        return Gauge(f"dlr_{name}", description, registry=self.registry)
