"""A Prometheus of a test's own, configured as in deploy/; skipped, in words, without it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.guard import Guard
from tests.support.ports import free_port
from tests.support.process import PROJECT
from tests.support.processes import wait_until

EVERY = 0.5
"""Seconds between two scrapes."""


class Prometheus:
    """Asked over its HTTP API, as Grafana does."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def series(self, query: str) -> list[dict[str, Any]]:
        """What a query gives now. Raises AssertionError where it cannot be answered."""
        answer = self._client.get("/api/v1/query", params={"query": query})
        told: dict[str, Any] = answer.json()
        assert told["status"] == "success", (query, told)
        found: list[dict[str, Any]] = told["data"]["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, with its health."""
        (group,) = self._client.get("/api/v1/rules").json()["data"]["groups"]
        found: list[dict[str, Any]] = group["rules"]
        return found

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def prometheus(folder: Path, targets: Sequence[str]) -> Iterator[Prometheus]:
    """deploy/prometheus.yml with these targets, and more haste."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("Prometheus is not here: it comes with Debian's package `prometheus`")
    config = yaml.safe_load((PROJECT / "deploy" / "prometheus.yml").read_text())
    config["global"] = {
        "scrape_interval": f"{EVERY * 1000:.0f}ms",
        "scrape_timeout": f"{EVERY * 1000:.0f}ms",
        "evaluation_interval": f"{EVERY * 1000:.0f}ms",
    }
    config["rule_files"] = [str(PROJECT / "deploy" / "alerts.yml")]
    config["scrape_configs"][0]["static_configs"] = [{"targets": list(targets)}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    guard = Guard(-process.pid)
    try:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
            here = Prometheus(client)
            came = wait_until(
                lambda: process.poll() is not None or here.is_ready(), timeout=30, every=0.1
            )
            said = (folder / "prometheus.log").read_text()
            assert came, said
            assert process.poll() is None, said
            yield here
    finally:
        process.kill()
        process.wait(10)
        guard.dismiss()
