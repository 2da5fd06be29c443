"""Purging old messages from a big table, beside receipts that come at a steady rate."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from app.record.retention import REST
from app.store.retention import BATCH
from bench import data, servers, traffic
from bench.client import Job, LoadResult
from bench.measure import run_load
from bench.population import populate
from bench.report import Mark, Section
from bench.servers import Server
from bench.stage import Stage
from tests.support.process import PROJECT

RATE, RATE_QUICK = 2_000.0, 200.0
"""Receipts a second."""
CONNECTIONS = 32
MOST_WINDOWS = 60
AGE = "1d"
"""Most of the population is older; what the windows send receipts of was sent just now."""
TIMES_ITS_USUAL = 2.0

NOTE = (
    "{messages:,} old messages with {receipts:,} receipts; {rate:g} receipts a second for younger "
    "messages, in windows of {seconds:g} s: first alone, then while `dlr purge` deletes what is "
    "old. p99 from a receipt's due time to its 200, medians of the windows."
)


def measure_purge(stage: Stage) -> Section:
    """What a purge costs receipts, and how long it takes."""
    rate = RATE_QUICK if stage.quick else RATE
    postgres, database = stage.postgres, stage.migrated_database()
    population = populate(postgres, database, stage.big, 0, stage.say)
    most = int(MOST_WINDOWS * stage.seconds * rate)
    stage.say(f"loading {most:,} younger messages")
    data.submit_all(postgres, database, population.messages, most)
    sent = [population.messages]
    server = servers.serve(postgres.url(database))
    with closing(server.process):
        _window(server, sent, rate, stage.seconds)  # to warm up
        stage.say("receipts alone")
        alone = [_window(server, sent, rate, stage.seconds) for _ in range(2 * stage.rounds)]
        stage.say("purging")
        beside: list[LoadResult] = []
        began = time.perf_counter()
        with _purging(postgres.url(database)) as purging:
            while purging.poll() is None and len(beside) < MOST_WINDOWS - 3 * stage.rounds:
                beside.append(_window(server, sent, rate, stage.seconds))
            took = time.perf_counter() - began
            code = purging.poll()
        server.process.terminate()
    # The whole of a big table takes hours; what was deleted in the windows says how many.
    left = int(postgres.execute("select count(*) from messages", database=database))
    count = population.messages + most - left
    if code or not count:
        raise RuntimeError(f"dlr purge ended with {code}; {count:,} messages are gone")
    postgres.drop_database(database)
    usual, meanwhile = (statistics.median(done.p99 for done in one) for one in (alone, beside))
    return Section(
        title="Purging beside receipts",
        note=NOTE.format(
            messages=population.messages,
            receipts=population.receipts,
            rate=rate,
            seconds=stage.seconds,
        ),
        columns=("", "receipts/s", "p50 ms", "p99 ms", "worst p99 ms", "messages purged/s"),
        rows=[
            _row("alone", alone, ""),
            _row("beside a purge", beside, f"{count / took:,.0f}"),
        ],
        marks=[
            Mark("p99 beside a purge, to its usual", meanwhile / usual, TIMES_ITS_USUAL),
        ],
        bounds=(
            f"a batch is one transaction of {BATCH} messages, and the purge rests {REST:g} times "
            f"as long as the batch took; {count:,} messages, with all that hangs on them, were "
            f"gone after {took:,.0f} s, while the receipts came."
        ),
    )


def _window(server: Server, sent: list[int], rate: float, seconds: float) -> LoadResult:
    options = {"first": sent[0], "count": 10**6}
    done = run_load(
        Job(server.port, "receipts", options, seconds=seconds, connections=CONNECTIONS, rate=rate)
    )
    sent[0] += (-(-done.answers // (2 * traffic.BLOCK)) + 1) * traffic.BLOCK
    return done


@contextmanager
def _purging(database_url: str) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-m", "app.cli", "purge", "--older-than", AGE]
    env = {**servers.service_environment(database_url, 1), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(
        words, cwd=PROJECT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as purging:
        try:
            yield purging
        finally:
            purging.kill()


def _row(name: str, windows: list[LoadResult], purged: str) -> list[str]:
    return [
        name,
        f"{statistics.median(done.requests_per_second for done in windows):,.0f}",
        f"{statistics.median(done.p50 for done in windows) * 1e3:.1f}",
        f"{statistics.median(done.p99 for done in windows) * 1e3:.1f}",
        f"{max(done.p99 for done in windows) * 1e3:.1f}",
        purged,
    ]
