"""A service and a simulator as real processes, with a key: what the commands talk to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cli.here import dlr
from tests.support.process import ServerProcess, free_port

SECRET_HEADER = "X-Test-Secret"
SECRET = "s3cret-of-the-tests"


@dataclass(frozen=True)
class Running:
    """Where they are, the settings they have, and the environment for a command."""

    url: str
    simulator: str
    key: str
    settings: dict[str, str]

    @property
    def env(self) -> dict[str, str]:
        return {"DLR_API_URL": self.url, "DLR_API_KEY": self.key}


def settings_for(database_url: str, folder: Path, port: int, simulator: str) -> dict[str, str]:
    return {
        "DLR_DATABASE_URL": database_url,
        "DLR_SPOOL_DIR": str(folder / "spool"),
        "DLR_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "DLR_CALLBACK_URL_HEADERS": f"Content-Type: application/json,{SECRET_HEADER}: {SECRET}",
        "DLR_IOVOX_URL": simulator,
        "DLR_IOVOX_USERNAME": "tester",
        "DLR_IOVOX_SECURE_KEY": "k3y-of-the-tests",
    }


@contextmanager
def running(
    database_url: str, folder: Path, *serve: str, env: dict[str, str] | None = None
) -> Iterator[Running]:
    """``serve`` are further words for ``dlr serve``, and ``env`` further settings."""
    ports = free_port(), free_port()
    simulator, url = (f"http://127.0.0.1:{port}" for port in ports)
    settings = settings_for(database_url, folder, ports[1], simulator) | (env or {})
    key = make_key(settings, "billing", "send", "read", "webhooks")
    with (
        ServerProcess.fork(
            ["simulator", "--port", str(ports[0])],
            ready_url=f"{simulator}/_simulator/counts",
        ),
        ServerProcess.fork(
            ["serve", "--port", str(ports[1]), *serve], settings, ready_url=f"{url}/healthz"
        ),
    ):
        yield Running(url, simulator, key, settings)


def make_key(settings: dict[str, str], app: str, *scopes: str) -> str:
    words = ["keys", "create", app]
    for scope in scopes:
        words += ["--scope", scope]
    done = dlr(words, settings)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]
