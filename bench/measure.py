"""One measured window: a load on a server, and what it cost whom.

CPU is read from /proc: of the server's processes and of all of PostgreSQL's, before and after.
Where processes share the cores it is the steadiest figure there is.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from statistics import median
from threading import Timer
from typing import IO, cast

import psutil

from bench.client import Job, LoadResult
from bench.servers import Server
from tests.support import processes
from tests.support.postgresql import PostgresServer
from tests.support.process import clean_environment

CLIENT_START = 90.0
"""Seconds beyond its job that a load process may take to start, to connect and to end."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a window showed. CPU in microseconds a request, times in seconds, memory in bytes.

    ``load_cpu`` is the load process's, ``other_cpu`` that of whatever else ran on the machine.
    """

    rate: float
    p50: float
    p99: float
    service_cpu: float
    postgres_cpu: float
    memory: float
    load_cpu: float = 0.0
    other_cpu: float = 0.0

    @property
    def cpu(self) -> float:
        """Service and PostgreSQL together."""
        return self.service_cpu + self.postgres_cpu

    def cores(self, cpu: float) -> float:
        """How many cores a cost in microseconds a request kept busy."""
        return cpu * self.rate / 1e6


class WrongAnswers(Exception):
    """Some answer was not the expected one, so the figures are worth nothing."""


def run_load(
    job: Job, *, status: int = 200, at_both_ends: Callable[[], None] = lambda: None
) -> LoadResult:
    """Run a load in a process of its own. Raises WrongAnswers unless every answer is right.

    ``at_both_ends`` is called right before the first request and right after the last answer.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "bench.client"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment({}),
    ) as client:
        too_long = Timer(job.seconds + CLIENT_START, client.kill)
        too_long.start()
        try:
            _exchange(client, json.dumps(asdict(job)))
            at_both_ends()
            result = _exchange(client, "go")
            at_both_ends()
        finally:
            too_long.cancel()
    done = LoadResult(**json.loads(result))
    if not done.answers and not done.errors:
        raise WrongAnswers("there was nothing left to send: the server is faster than was foreseen")
    if set(done.statuses) != {str(status)} or done.errors:
        raise WrongAnswers(f"wanted {status} only, got {done.statuses}, errors {done.errors}")
    return done


def _exchange(client: subprocess.Popen[str], line: str) -> str:
    """Write a line to the load process; returns the line that it answers."""
    pipes = (client.stdin, client.stdout, client.stderr)
    stdin, stdout, stderr = (cast("IO[str]", pipe) for pipe in pipes)
    with suppress(BrokenPipeError):
        stdin.write(line + "\n")
        stdin.flush()
    answer = stdout.readline()
    if not answer:
        raise RuntimeError(f"the load process failed: {stderr.read()[-2000:]}")
    return answer


def measure(
    server: Server,
    job: Job,
    postgres: PostgresServer | None = None,
    *,
    status: int = 200,
    rest: Callable[[LoadResult], None] | None = None,
) -> tuple[Figures, LoadResult]:
    """Run a load and say what it cost; also in a ``rest`` behind it, if there is one."""
    spent: list[tuple[float, float, float]] = []
    done = run_load(job, status=status, at_both_ends=lambda: spent.append(_spent(server, postgres)))
    if rest is not None:
        rest(done)
        spent[-1] = _spent(server, postgres)
    before, after = spent
    service, database, everything = (
        (then - now) / done.answers * 1e6 for now, then in zip(before, after, strict=True)
    )
    load = done.cpu / done.answers * 1e6
    return (
        Figures(
            rate=done.requests_per_second,
            p50=done.p50,
            p99=done.p99,
            service_cpu=service,
            postgres_cpu=database,
            memory=largest_worker(server),
            load_cpu=load,
            other_cpu=max(0.0, everything - service - database - load),
        ),
        done,
    )


def largest_worker(server: Server) -> float:
    """Peak memory of the largest process of a server."""
    everyone = processes.family(server.process.pid)
    return max(processes.peak_memory_bytes([one]) for one in everyone)


def middle(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure over several rounds."""
    return Figures(
        **{each.name: median(getattr(r, each.name) for r in rounds) for each in fields(Figures)}
    )


def _spent(server: Server, postgres: PostgresServer | None) -> tuple[float, float, float]:
    """CPU seconds so far: of a server, of PostgreSQL, of the whole machine."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # A guest's time is in that of the user already.
    whole = sum(times) - idle - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return server.process.cpu_seconds(), postgres.cpu_seconds() if postgres else 0.0, whole
