"""`dlr serve` and `dlr worker` as an operator meets them."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from iovox_receipts import Client
from tests.cli.here import dlr
from tests.cli.running import running, settings_for
from tests.support.ports import free_port
from tests.support.process import ServerProcess


def test_what_is_queued_waits_for_a_worker(tmp_path: Path) -> None:
    with (
        running(f"sqlite:///{tmp_path / 'dlr.db'}", tmp_path, "--no-workers") as service,
        Client(service.url, service.key) as client,
    ):
        (queued,) = client.send_batch(
            [{"origin": "447923221231", "destination": "447700900105", "message": "Hello"}]
        )
        assert accepted(service.simulator) == 0
        with ServerProcess.fork(["worker"], service.settings) as worker:
            for message in client.watch(queued["id"] or ""):
                if message.status == "SUBMITTED":
                    break
            assert accepted(service.simulator) == 1
            assert worker.terminate() == 0
            assert "Traceback" not in worker.output()


def accepted(simulator: str) -> int:
    counts = httpx.get(f"{simulator}/_simulator/counts?brief=1", trust_env=False).json()
    return int(counts["accepted"])


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        env = settings_for(f"sqlite:///{tmp_path / 'dlr.db'}", tmp_path, port, "http://127.0.0.1:1")
        done = dlr(["serve", "--port", str(port)], env)
    assert done.returncode == 2
    assert done.stderr == f"Cannot listen on 127.0.0.1 port {port}: Address already in use\n"


@pytest.mark.postgresql
def test_a_schema_that_is_behind_is_not_served(empty_postgres_url: str, tmp_path: Path) -> None:
    env = settings_for(empty_postgres_url, tmp_path, free_port(), "http://127.0.0.1:1")
    for command in (["serve", "--port", "0"], ["worker"]):
        done = dlr(command, env)
        assert done.returncode == 2
        assert "Run `dlr migrate`" in done.stderr
        assert "Traceback" not in done.stderr
