"""The console's pages on a big table: searches by parts, with their counts, and the others."""

from __future__ import annotations

import time
from urllib.parse import quote

import httpx

from bench import servers, traffic
from bench.client import percentile
from bench.report import Mark, Section
from bench.stage import Stage

PAGES, PAGES_QUICK = 40, 5
WARM_UP = 3
PATIENCE = 120.0
WITHIN = {"search": 100.0, "overview": 300.0, "page": 200.0}
"""Milliseconds that the slowest of a kind may take."""

NOTE = (
    "Whole pages, as a browser asks for them, one after the other, on {messages:,} messages, "
    "signed in as an admin. A search is the page with its counts by status; values differ from "
    "page to page and lie anywhere in the table; p50 and p99 of {pages} pages each. The overview "
    "is read from roll-ups, which a worker has counted before. CPU is of the service and of "
    "PostgreSQL together, the mean of a page: what it takes where nobody else wants the cores."
)


def compare(stage: Stage) -> Section:
    """Every kind of page on the big table."""
    population = stage.populated(stage.big)
    url = stage.postgres.url(population.database)
    key = servers.dlr(["keys", "create", "bench-console", "--scope", "admin"], url)
    server = servers.serve(url)
    pages = PAGES_QUICK if stage.quick else PAGES
    times: dict[str, list[float]] = {}
    cpu: dict[str, float] = {}
    with (
        server.process,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=PATIENCE) as client,
    ):
        client.post("/console/sign-in", data={"key": key})
        number = 0
        for place in range(WARM_UP + pages):
            for name, path in _paths(population.known + number).items():
                spent = _spent(server, stage)
                begun = time.perf_counter()
                answer = client.get(path, follow_redirects=True)
                taken = (time.perf_counter() - begun) * 1e3
                if answer.status_code != 200:
                    raise RuntimeError(f"{path} answered {answer.status_code}")
                if place >= WARM_UP:
                    times.setdefault(name, []).append(taken)
                    cpu[name] = cpu.get(name, 0.0) + _spent(server, stage) - spent
            number = (number + traffic.STRIDE) % population.messages
    return _section(population.messages + population.known, pages, times, cpu)


def _spent(server: servers.Server, stage: Stage) -> float:
    """CPU seconds so far, of the service and of PostgreSQL."""
    return server.process.cpu_seconds() + stage.postgres.cpu_seconds()


def _paths(number: int) -> dict[str, str]:
    """Pages about the n-th message."""
    digits = traffic.destination(number)
    reference = f"order-{number}"
    return {
        "search: last 4 digits": _search(digits[-4:]),
        "search: last 6 digits": _search(digits[-6:]),
        "search: a whole number": _search(f"+{digits}"),
        "search: beginning of a reference (few)": _search(f"ref:{reference}"),
        "search: beginning of a reference (all)": _search("ref:order-"),
        "search: status:failed": _search("status:failed"),
        "messages, newest first": "/console",
        "a message": f"/console/messages/{traffic.message_id(number)}",
        "a message's case file": f"/console/messages/{traffic.message_id(number)}/print",
        "attention": "/console/attention",
        "overview: 24 hours": "/console/overview?range=24h",
        "overview: 30 days": "/console/overview?range=30d",
        "audit": "/console/audit",
    }


def _search(text: str) -> str:
    return f"/console?q={quote(text)}&show=list"


def _section(
    messages: int, pages: int, times: dict[str, list[float]], cpu: dict[str, float]
) -> Section:
    rows = []
    slowest = dict.fromkeys(WITHIN, 0.0)
    for name, taken in times.items():
        p50, p99 = percentile(taken, 50), percentile(taken, 99)
        rows.append([name, f"{p50:.1f}", f"{p99:.1f}", f"{cpu[name] / pages * 1e3:.0f}"])
        kind = name.split(":")[0]
        kind = kind if kind in slowest else "page"
        slowest[kind] = max(slowest[kind], p50)
    marks = [
        Mark(f"slowest {kind}, p50 ms / {limit:.0f}", slowest[kind] / limit, 1)
        for kind, limit in WITHIN.items()
    ]
    return Section(
        title="The console",
        note=NOTE.format(messages=messages, pages=pages),
        columns=("page", "p50 ms", "p99 ms", "CPU ms"),
        rows=rows,
        marks=marks,
        bounds="PostgreSQL's counts, which stop at 1,000 of a kind",
    )
