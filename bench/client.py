"""The load process: reads a job as one line of JSON, answers that it is ready, starts it at the
next line, and writes the result.

A process of its own, so that its CPU does not count as the service's. The caller is the benchmark,
which reads everybody's CPU at those two moments: starting costs as much as half a second of load.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from array import array
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import uvloop

from bench import traffic
from tests.support.load import drive

Requests = Iterable[bytes] | AsyncIterable[bytes]

SOURCES: dict[str, Callable[..., Iterator[bytes]]] = {
    "receipts": traffic.receipts,
    "sends": traffic.sends,
    "submissions": traffic.submissions,
    "lookups": traffic.lookups,
    "pages": traffic.pages,
}


@dataclass(frozen=True, slots=True)
class Job:
    """What to send where, for how long, and no more than ``most``. ``options`` are the source's.

    ``rate``: requests a second; None is as fast as answers come. ``groups``: the n-th request
    belongs to group n modulo this, and the times of each group are kept apart. ``spread``: seconds
    within which the connections start.
    """

    port: int
    source: str
    options: dict[str, Any]
    seconds: float
    connections: int = 64
    most: int | None = None
    rate: float | None = None
    groups: int = 0
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The result of a job. Times are in seconds; ``cpu`` is what this process used itself.

    ``groups``: each request's, by its group.
    """

    answers: int
    seconds: float
    requests_per_second: float
    p50: float
    p99: float
    cpu: float
    statuses: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    groups: list[list[float]] = field(default_factory=list)


MOST_PER_SECOND = 80_000
"""Requests that are made for a second of load, before it starts: more than any server answers."""


def until(seconds: float, requests: Iterable[bytes]) -> Iterator[bytes]:
    """The requests, until the time is over."""
    ends_at = time.perf_counter() + seconds
    for request in requests:
        if time.perf_counter() > ends_at:
            return
        yield request


async def paced(rate: float, requests: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The requests, so many a second, however long the answers take."""
    began = time.perf_counter()
    for number, request in enumerate(requests):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        yield request


def made(job: Job) -> Iterable[bytes]:
    """The requests. What making them costs is not to be taken from the server."""
    source = islice(SOURCES[job.source](**job.options), job.most)
    return source if job.rate else list(islice(source, int(job.seconds * MOST_PER_SECOND)))


async def work(job: Job, source: Iterable[bytes]) -> LoadResult:
    """Drive one load."""
    timed = until(job.seconds, source)
    requests: Requests = paced(job.rate, timed) if job.rate else timed
    groups = [array("d") for _ in range(job.groups)]

    def note(index: int, _status: int, seconds: float) -> None:
        groups[index % job.groups].append(seconds)

    began = time.process_time()
    result = await drive(
        "127.0.0.1",
        job.port,
        requests,
        job.connections,
        note if groups else None,
        spread=job.spread,
    )
    return LoadResult(
        answers=result.answers,
        seconds=result.seconds,
        requests_per_second=result.requests_per_second,
        p50=result.p50,
        p99=result.p99,
        cpu=time.process_time() - began,
        statuses={str(status): count for status, count in result.statuses.items()},
        errors=dict(result.errors),
        groups=[list(times) for times in groups],
    )


def percentile(times: Sequence[float], percent: int) -> float:
    """The time that so many percent are no longer than; 0 of none."""
    ordered = sorted(times)
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else 0.0


def main() -> None:
    """Do the job on standard input."""
    job = Job(**json.loads(sys.stdin.readline()))
    source = made(job)
    gc.disable()  # a pause of ours would count as the server's; the run is short
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asdict(uvloop.run(work(job, source)))), flush=True)


if __name__ == "__main__":
    main()
