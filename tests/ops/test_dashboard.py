"""Prometheus answers what the dashboard asks, and its rules, against a running service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.running import SECRET, SECRET_HEADER, make_key, settings_for
from tests.ops.prometheus import EVERY, Prometheus, prometheus
from tests.receive.serving import bearer
from tests.send.world import HELLO
from tests.support.ports import free_port
from tests.support.process import PROJECT, ServerProcess
from tests.support.processes import wait_until

BOARD = json.loads((PROJECT / "deploy" / "grafana-dashboard.json").read_text())
QUERIES = [
    (panel["title"], target["expr"])
    for panel in BOARD["panels"]
    for target in panel.get("targets", ())
]
SCRAPES = 3
"""As many as a rate needs, and one that was missed."""


@pytest.fixture(scope="module")
def scraped(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """At the port for operators, as in deploy/prometheus.yml; something of each happens."""
    folder = tmp_path_factory.mktemp("scraped")
    (folder / "dlr.db").write_bytes((sqlite_template / "dlr.db").read_bytes())
    iovox, port, ops = free_port(), free_port(), free_port()
    url, simulator = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{iovox}"
    settings = settings_for(f"sqlite:///{folder / 'dlr.db'}", folder, port, simulator) | {
        "DLR_OPS_PORT": str(ops),
        "DLR_OPS_INTERVAL": "0.2",
    }
    key = make_key(settings, "billing", "send", "read")
    counts = f"{simulator}/_simulator/counts"
    with (
        ServerProcess.fork(["simulator", "--port", str(iovox)], ready_url=counts),
        ServerProcess.fork(["serve", "--port", str(port)], settings, f"{url}/healthz"),
        prometheus(folder, [f"127.0.0.1:{ops}"]) as here,
    ):
        until = time.monotonic() + SCRAPES * EVERY
        while time.monotonic() < until:
            sent = httpx.post(f"{url}/v1/messages", json=HELLO, headers=bearer(key))
            assert sent.status_code == 201
            httpx.post(f"{url}/dlr", content=b"no receipt", headers={SECRET_HEADER: SECRET})
            time.sleep(EVERY / 5)
        assert wait_until(lambda: bool(here.series("dlr_build_info")), timeout=10, every=0.1)
        yield here


def test_every_query_of_the_dashboard_gives_something(scraped: Prometheus) -> None:
    assert len(QUERIES) > 20
    asked = [
        (title, expression.replace("$__rate_interval", f"{SCRAPES * 2 * EVERY * 1000:.0f}ms"))
        for title, expression in QUERIES
    ]

    def silent() -> list[tuple[str, str]]:
        return [(title, query) for title, query in asked if not scraped.series(query)]

    assert wait_until(lambda: not silent(), timeout=15, every=0.2), silent()


def test_every_rule_can_be_evaluated(scraped: Prometheus) -> None:
    def unsound() -> list[str]:
        return [rule["name"] for rule in scraped.rules() if rule["health"] != "ok"]

    assert wait_until(lambda: not unsound(), timeout=15, every=0.2), unsound()
    assert len(scraped.rules()) > 10


def test_a_query_that_prometheus_cannot_read_would_be_seen(scraped: Prometheus) -> None:
    with pytest.raises(AssertionError, match="bad_data"):
        scraped.series("rate(dlr_receipts_total)")
