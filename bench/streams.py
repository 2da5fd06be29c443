"""A thousand open event streams on one worker: how late an event comes, and what a stream costs."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict

import psutil

from bench import data, servers, traffic
from bench.listeners import Heard, Listening
from bench.report import Section
from bench.servers import Server
from bench.stage import Stage
from tests.support import processes
from tests.support.process import clean_environment

STREAMS, STREAMS_QUICK = 1_000, 300
WARM_UP_STREAMS = 50
"""Opened, used and closed first, so that one-time costs do not count as costs of a stream."""
EVENTS = 50
EVERY = 0.1
"""Seconds between events; each goes to every stream."""
PATIENCE = 120.0
FILES = 4_096

NOTE = (
    "{streams:,} streams of `/v1/events/stream` open on one worker, no filter, and a receipt every "
    "{every:g} ms, whose event goes to all of them: {arrivals:,} arrivals, {missing} missing. "
    "Times are from the receipt's POST to the event's arrival, so the commit is in them, and the "
    "reading process, which has the cores in common. Memory is what the worker's resident set grew "
    "by while the streams were opened and used, by stream."
)


def measure_streams(stage: Stage) -> Section:
    """Open streams, bring about events."""
    streams = STREAMS_QUICK if stage.quick else STREAMS
    database = stage.migrated_database()
    data.submit_all(stage.postgres, database, 0, 4 * EVENTS)
    url = stage.postgres.url(database)
    key = servers.dlr(["keys", "create", traffic.APP, "--scope", "read"], url)
    with _more_files():
        server = servers.serve(url)
        with closing(server.process):
            _hear(server, Listening(server.port, key, WARM_UP_STREAMS, EVENTS, 0.02, 0))
            before = _resident(server)
            stage.say(f"opening {streams:,} streams")
            heard = _hear(server, Listening(server.port, key, streams, EVENTS, EVERY, 2 * EVENTS))
            grown = processes.peak_memory_bytes([psutil.Process(server.process.pid)]) - before
            server.process.terminate()
    stage.postgres.drop_database(database)
    return _section(streams, heard, max(0.0, grown / streams))


def _hear(server: Server, listening: Listening) -> Heard:
    """Run the listening process. Raises RuntimeError where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.listeners"],
        input=json.dumps(asdict(listening)) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env=clean_environment({}),
    )
    if done.returncode:
        raise RuntimeError(f"the listening process failed: {done.stderr[-2000:]}")
    return Heard(**json.loads(done.stdout))


def _resident(server: Server) -> int:
    return int(psutil.Process(server.process.pid).memory_info().rss)


@contextmanager
def _more_files() -> Iterator[None]:
    """A connection is a file; what we start now may open enough of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _section(streams: int, heard: Heard, bytes_each: float) -> Section:
    if heard.missing:
        raise RuntimeError(f"{heard.missing} events did not arrive")
    return Section(
        title="Open event streams",
        note=NOTE.format(
            streams=streams, every=EVERY * 1e3, arrivals=heard.arrivals, missing=heard.missing
        ),
        columns=("", "p50 ms", "p99 ms", "longest ms", "KB a stream"),
        rows=[
            [
                f"{streams:,} streams",
                f"{heard.p50 * 1e3:.0f}",
                f"{heard.p99 * 1e3:.0f}",
                f"{heard.longest * 1e3:.0f}",
                f"{bytes_each / 1024:.1f}",
            ]
        ],
        bounds=(
            "one event loop that writes to each connection in turn: the longest wait is that of "
            "the last in the row."
        ),
    )
