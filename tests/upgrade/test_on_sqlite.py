"""An old process on SQLite while a newer release starts on the same file, and migrates it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.cli.here import dlr
from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS, SETTINGS
from tests.support.process import ServerProcess, free_port
from tests.support.processes import wait_until
from tests.upgrade.releases import BREAKING, COMPATIBLE, TODAY, Release, newer

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]
SEND = {"origin": "Upgrade", "destination": "447700900123", "message": "Hello"}


@pytest.fixture
def settings(sqlite_url: str, tmp_path: Path) -> dict[str, str]:
    return SETTINGS | {"DLR_DATABASE_URL": sqlite_url, "DLR_SPOOL_DIR": str(tmp_path / "spool")}


@pytest.fixture
def old(settings: dict[str, str], tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of the old process."""
    port = free_port()
    words = ["keys", "create", "load", "--scope", "send"]
    key = dlr(words, settings).stdout.split()[-1]
    url = f"http://127.0.0.1:{port}"
    with (
        closing(TODAY.serve(port, settings, cwd=tmp_path)),
        httpx.Client(
            base_url=url, trust_env=False, headers={"Authorization": f"Bearer {key}"}
        ) as client,
    ):
        yield client


def started(release: Release, settings: dict[str, str], folder: Path) -> closing[ServerProcess]:
    return closing(release.serve(free_port(), settings, cwd=folder))


def receipt(client: httpx.Client, ledger: Ledger) -> int:
    body = ledger.next_request().partition(b"\r\n\r\n")[2]
    return client.post("/dlr", content=body, headers=HEADERS).status_code


def stored(settings: dict[str, str]) -> int:
    with closing(sqlite3.connect(urlsplit(settings["DLR_DATABASE_URL"]).path)) as database:
        return int(database.execute("select count(*) from receipts").fetchone()[0])


def test_a_compatible_one_disturbs_nobody(
    old: httpx.Client, settings: dict[str, str], tmp_path: Path
) -> None:
    ledger = Ledger("compatible", HEADERS, repeat=0)
    new = newer(tmp_path / "new", ("9001_compatible", COMPATIBLE))
    with started(new, settings, tmp_path):
        for _ in range(3):
            assert receipt(old, ledger) == 200
            assert old.post("/v1/messages", json=SEND).status_code < 300
        assert old.get("/readyz").json() == {"status": "ready", "reasons": [], "spooled": 0}
    assert stored(settings) == 3
    with started(TODAY, settings, tmp_path):
        assert dlr(["migrate"], settings).returncode == 0


def test_a_breaking_one_stops_old_code_which_keeps_receipts(
    old: httpx.Client, settings: dict[str, str], tmp_path: Path
) -> None:
    ledger = Ledger("breaking", HEADERS, repeat=0)
    new = newer(tmp_path / "new", ("9002_breaking", BREAKING))
    assert new.dlr(["migrate"], settings).returncode == 0
    refused = old.post("/v1/messages", json=SEND)
    assert refused.status_code == 503
    assert refused.json()["type"].endswith(":schema-unusable")
    assert "messages are kept elsewhere" in refused.json()["detail"]
    assert receipt(old, ledger) == 200
    ready = old.get("/readyz")
    assert (ready.status_code, ready.json()["spooled"]) == (503, 1)
    assert "messages are kept elsewhere" in ready.json()["reasons"][0]
    assert stored(settings) == 0
    with started(new, settings, tmp_path):
        assert wait_until(lambda: stored(settings) == 1, timeout=30), "drained by the new release"
