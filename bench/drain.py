"""A spool full of receipts, as a long outage of the database leaves it, and new ones coming."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from uuid_utils.compat import uuid7

from app.model.receipt import Arrival
from app.receive.spool import Spool
from bench import data, servers, traffic
from bench.client import Job, LoadResult
from bench.measure import run_load
from bench.receive import check_stored, direct
from bench.report import Section
from bench.servers import Server
from bench.stage import Stage

SPOOLED, SPOOLED_QUICK = 100_000, 20_000
RATE = 500.0
"""New receipts a second meanwhile: far above an everyday load, far below what it can do."""
LOAD_SECONDS = 3.0
PATIENCE = 200.0
"""Seconds after which a drain that does not end has failed."""
LOOK_EVERY = 0.1
APPEND = 1_000
"""Arrivals in one transaction of the spool's file."""

NOTE = (
    "{spooled:,} receipts of known messages in the spool, the service started on it, and {rate:g} "
    "new receipts a second POSTed from its first moment on, every answer checked; afterwards all "
    "of them are counted in the database. The rate is that between the first and the last look at "
    "`/readyz`, which tells how many wait. Direct is one worker's rate under full load."
)


@dataclass(slots=True)
class Drained:
    """What a drain showed. ``rate`` is receipts a second; ``waits`` the new receipts' p99s."""

    rate: float
    answered: int
    waits: list[float]


def measure_drain(stage: Stage) -> Section:
    """How fast the spool empties."""
    spooled = SPOOLED_QUICK if stage.quick else SPOOLED
    at_once = direct(stage)
    database = stage.migrated_database()
    stage.say(f"filling the spool with {spooled:,}")
    data.submit_all(stage.postgres, database, 0, int(spooled + PATIENCE * RATE) // 2)
    with TemporaryDirectory(prefix="dlr-bench-") as folder:
        _fill(Path(folder), spooled)
        stage.say("draining")
        server = servers.serve(
            stage.postgres.url(database),
            extra={"DLR_SPOOL_DIR": folder},
        )
        with closing(server.process):
            drained = _watch(server, spooled)
            server.process.terminate()
    check_stored(stage.postgres, database, spooled + drained.answered)
    stage.postgres.drop_database(database)
    return _section(spooled, drained, at_once.rate)


def _section(spooled: int, drained: Drained, direct_rate: float) -> Section:
    return Section(
        title="Draining the spool",
        note=NOTE.format(spooled=spooled, rate=RATE),
        columns=("", "drained/s", "direct/s", "new receipts", "their p99 ms"),
        rows=[
            [
                f"{spooled:,} spooled",
                f"{drained.rate:,.0f}",
                f"{direct_rate:,.0f}",
                f"{drained.answered:,}",
                f"{max(drained.waits) * 1e3:.1f}",
            ]
        ],
        bounds=(
            "one batch at a time, each read from the spool, committed in PostgreSQL and then "
            "deleted from the spool, so it waits for two disks' flushes a batch; the larger the "
            "batch, the less that weighs."
        ),
    )


def _fill(folder: Path, count: int) -> None:
    """Receipts as the service would have spooled them: both of each message."""
    spool = Spool(folder)
    spool.open()
    arrivals = _arrivals()
    for start in range(0, count, APPEND):
        spool.append(list(islice(arrivals, min(APPEND, count - start))))
    spool.close()


def _arrivals() -> Iterator[Arrival]:
    times = traffic.timestamps()
    start = 0
    while True:
        for step in range(len(traffic.STEPS)):
            for number in range(start, start + traffic.BLOCK):
                body = traffic.receipt_body(number, step, times[number % len(times)])
                hint = traffic.message_id(number)
                yield Arrival(id=uuid7(), received_at=datetime.now(UTC), body=body, hint=hint)
        start += traffic.BLOCK


def _watch(server: Server, spooled: int) -> Drained:
    """Look at the spool until it is empty, while new receipts come."""
    began, first = time.perf_counter(), _spooled(server)
    done = Drained(rate=0.0, answered=0, waits=[])
    next_message = -(-spooled // 2) + traffic.BLOCK
    with ThreadPoolExecutor(max_workers=1) as pool:
        load: Future[LoadResult] | None = None
        while True:
            if load is None or load.done():
                next_message = _note(done, load, next_message)
                load = pool.submit(run_load, _new_receipts(server, next_message))
            if not _spooled(server):
                break
            if time.perf_counter() - began > PATIENCE:
                raise RuntimeError(f"the spool is not empty after {PATIENCE:g} s")
            time.sleep(LOOK_EVERY)
        done.rate = first / (time.perf_counter() - began)
        _note(done, load, next_message)
    return done


def _note(done: Drained, load: Future[LoadResult] | None, next_message: int) -> int:
    """Record a load's result; returns the number of the message at which the next one starts."""
    if load is None:
        return next_message
    result = load.result()
    done.answered += result.answers
    done.waits.append(result.p99)
    blocks = -(-result.answers // (2 * traffic.BLOCK))
    return next_message + blocks * traffic.BLOCK


def _new_receipts(server: Server, next_message: int) -> Job:
    options = {"first": next_message, "count": 10**6}
    return Job(server.port, "receipts", options, seconds=LOAD_SECONDS, connections=16, rate=RATE)


def _spooled(server: Server) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with closing(connection):
        connection.request("GET", "/readyz")
        return int(json.loads(connection.getresponse().read())["spooled"] or 0)
