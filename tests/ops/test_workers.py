"""Several server processes tell one story, whichever of them a scrape reaches."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.ops.promtool import promtool
from tests.ops.scraping import Samples, read
from tests.receive.serving import CALLBACK_HEADERS, body, environment
from tests.support.ports import free_port
from tests.support.process import ServerProcess
from tests.support.processes import ended, wait_until

pytestmark = pytest.mark.timeout(300)  # many processes start, beside everything else

WORKERS = 2
CHANGES_BY_ITSELF = ("process_", "dlr_http_", "dlr_spool_free", "dlr_clock", "dlr_database_pool")


@pytest.fixture(scope="module")
def server(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, ServerProcess]]:
    folder = tmp_path_factory.mktemp("workers")
    (folder / "dlr.db").write_bytes((sqlite_template / "dlr.db").read_bytes())
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = ["serve", "--port", str(port), "--workers", str(WORKERS)]
    settings = environment(f"sqlite:///{folder / 'dlr.db'}", DLR_OPS_INTERVAL="0.5")
    with ServerProcess.fork(words, settings, f"{url}/healthz", timeout=150) as process:
        yield url, process


def scrape(url: str) -> tuple[str, Samples]:
    """By a connection of its own: the kernel chooses a process."""
    text = httpx.get(f"{url}/metrics", timeout=10).text
    return text, read(text)


def story(samples: Samples) -> Samples:
    return {
        name: value for name, value in samples.items() if not name.startswith(CHANGES_BY_ITSELF)
    }


def test_twelve_scrapes_tell_one_story(server: tuple[str, ServerProcess]) -> None:
    url, process = server
    wait_until(lambda: len(processes_of(process)) == WORKERS, timeout=30)
    for number in range(40):
        receipt = body(f"{number}", "DELIVERED" if number % 2 else "FAILED")
        answer = httpx.post(f"{url}/dlr", content=receipt, headers=CALLBACK_HEADERS)
        assert answer.status_code == 200
    for _ in range(7):
        assert httpx.post(f"{url}/dlr", content=b"x").status_code == 401
    assert wait_until(lambda: scrape(url)[1]["dlr_unmatched_ids"] == 40, timeout=10, every=0.1)
    stories = [story(scrape(url)[1]) for _ in range(12)]
    assert stories == [stories[0]] * 12
    first = stories[0]
    assert first["dlr_receipts_total{status=DELIVERED}"] == 20
    assert first["dlr_receipts_total{status=FAILED}"] == 20
    assert first["dlr_receipt_seconds_count"] == 40
    assert first["dlr_receipts_refused_total{reason=secret}"] == 7
    together = scrape(url)[1]
    assert together["process_resident_memory_bytes"] > WORKERS * 30_000_000
    assert together["process_start_time_seconds"] > 1e9


def test_what_a_process_counted_outlives_it(server: tuple[str, ServerProcess]) -> None:
    url, process = server
    before = scrape(url)[1]
    children = processes_of(process)
    for each in children[:1]:
        os.kill(each.pid, signal.SIGKILL)
    assert wait_until(
        lambda: (
            len(processes_of(process)) == WORKERS
            and not {one.pid for one in children[:1]} & {one.pid for one in processes_of(process)}
        ),
        timeout=30,
        every=0.1,
    )
    assert wait_until(lambda: answers(url), timeout=20, every=0.1)
    after = scrape(url)[1]
    for name in ("dlr_receipts_total{status=DELIVERED}", "dlr_receipt_seconds_count"):
        assert after[name] == before[name]
    assert after["dlr_streams_open"] == 0


def test_the_linter_of_metrics_has_nothing_to_say(server: tuple[str, ServerProcess]) -> None:
    text, _ = scrape(server[0])
    done = subprocess.run(
        [promtool(), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def processes_of(process: ServerProcess) -> list[psutil.Process]:
    found = psutil.Process(process.pid).children()
    return [one for one in found if not ended(one) and "spawn_main" in " ".join(one.cmdline())]


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
