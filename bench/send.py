"""Sending: what the service adds to iovox's own time, and what a send costs."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime
from typing import Protocol

from bench import servers, traffic
from bench.client import Job
from bench.measure import Figures
from bench.report import FIGURES, Mark, Section, bounds_of, figure_cells
from bench.servers import Server
from bench.stage import SMALL, Stage, name_of
from bench.turns import TURNS, Contender, Contest, in_turns

FEW = 50
MANY = 300
"""Callers that keep all cores busy, each with a connection to iovox."""
STEADY = 2.0
"""Seconds that a turn of the many takes at least. In a third of a second each sends once, on a new
connection, and the service opens one to iovox for nearly each, having dropped what was idle for 2 s
between the turns: that measures connecting.
"""
SLOWLY = 450.0
"""Requests a second, about as many as the few callers send."""
DELAY = 0.1
"""Seconds that the simulated iovox takes to answer, on average."""
JITTER = 0.03
"""Seconds earlier or later. Where each answer takes exactly as long, callers fall in step within a
second: their messages come in bursts, and each waits for the CPU of all.
"""

NOTE = (
    "Callers that each wait for their answer, and a simulated iovox (a process of its own, whose "
    "CPU is not counted) that answers after {delay:g} ms, up to {jitter:g} ms more or less, and "
    "sends no receipts. Directly: the same load on the simulator without the service. What the "
    "service adds is the difference of the two. Callers start within {delay:g} ms, one after the "
    "other. (b) validates the same body and does nothing; (d) also records it, forwards it and "
    "notes the answer, without key, deadline or batch: what the libraries alone cost. At few "
    "requests a second each costs more CPU, whoever answers (compare the two rows of (b)), so CPU "
    "is compared where both have as much to do as they can: {many} callers here, {few} at (b). "
    "Messages go to a thousand numbers, which are remembered. Medians of {turns} turns of "
    "{seconds:g} s, the contenders one after the other in each, and of the differences and ratios "
    "in each turn."
)


def measure_send(stage: Stage) -> Section:
    """The service in front of the simulator, the simulator alone, and FastAPI alone."""
    # A copy of a database that has been in use: of an empty one PostgreSQL has no statistics, and
    # plans for it badly until it has looked, a minute later.
    postgres = stage.postgres
    database = name_of(postgres.create_database(template=stage.populated(SMALL).database))
    url = postgres.url(database)
    key = servers.dlr(["keys", "create", traffic.APP, "--scope", "send"], url)
    iovox = servers.simulator()
    behave(iovox)
    service = servers.serve(
        url,
        extra={
            "DLR_IOVOX_URL": f"http://127.0.0.1:{iovox.port}",
            "DLR_IOVOX_MAX_CONNECTIONS": str(MANY),
        },
    )
    sends: dict[str, object] = {"first": 0, "count": 10**6}
    to_noop = _load(servers.rival("noop"), "sends", sends, status=200)
    forward = servers.rival("forward", url, iovox=iovox)
    to_forward = _load(forward, "sends", sends, status=201)
    to_iovox = _load(iovox, "submissions", {"count": 10**6}, status=201)
    to_service = _load(service, "sends", {**sends, "key": key}, status=201)
    contenders = {
        "noop": to_noop(FEW),
        "forward": to_forward(MANY, spread=DELAY),
        "full": to_service(MANY, spread=DELAY),
        "slow noop": to_noop(FEW, rate=SLOWLY),
        "direct": to_iovox(FEW, spread=DELAY),
        "service": to_service(FEW, spread=DELAY),
    }
    began = datetime.now(UTC)
    contest = in_turns(stage, contenders)
    unsent = f"select count(*) from messages where state <> 'SUBMITTED' and created_at > '{began}'"
    if count := int(postgres.execute(unsent, database=database)):
        raise RuntimeError(f"{count} messages were answered 201 but are not SUBMITTED")
    postgres.drop_database(database)
    return _section(stage, contest)


class _Load(Protocol):
    """So many callers who start within ``spread`` seconds, at their own rate or at this one."""

    def __call__(
        self, callers: int, *, spread: float = 0.0, rate: float | None = None
    ) -> Contender: ...


def _load(server: Server, source: str, options: dict[str, object], *, status: int) -> _Load:
    def contender(callers: int, *, spread: float = 0.0, rate: float | None = None) -> Contender:
        def job(seconds: float) -> Job:
            seconds = max(seconds, STEADY) if callers == MANY else seconds
            return Job(server.port, source, options, seconds, callers, rate=rate, spread=spread)

        return Contender(server, job, status=status)

    return contender


def behave(iovox: Server) -> None:
    """Set the simulator's knobs."""
    behaviour = {"answer_delay": DELAY, "answer_jitter": JITTER, "receipts": False}
    request = urllib.request.Request(
        f"http://127.0.0.1:{iovox.port}/_simulator/behaviour",
        data=json.dumps(behaviour).encode(),
        headers={"Content-Type": "application/json"},
    )
    without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with without_proxy.open(request, timeout=10):
        pass


def _section(stage: Stage, contest: Contest) -> Section:
    found = contest.medians()
    names = {
        "noop": "(b) FastAPI that does nothing, full load",
        "forward": "(d) FastAPI, aiohttp, two statements, full load",
        "full": "this service, full load",
        "slow noop": f"(b) at {SLOWLY:g} requests/s",
        "direct": f"the simulator directly, {FEW} callers",
        "service": f"this service, {FEW} callers",
    }
    rows = [[names[name], *_figures(name, figures)] for name, figures in found.items()]
    apart = _added(contest, "service", "direct")
    cpu = contest.of_pairs("full", "noop", lambda ours, noop: ours.service_cpu / noop.service_cpu)
    return Section(
        title="Sending through a simulated iovox",
        note=NOTE.format(
            few=FEW,
            many=MANY,
            delay=DELAY * 1e3,
            jitter=JITTER * 1e3,
            turns=stage.rounds * TURNS,
            seconds=stage.seconds / TURNS,
        ),
        columns=("", *FIGURES[:-1]),
        rows=[
            *rows,
            ["what the service adds", "", *_cells(apart), "", ""],
        ],
        marks=[
            Mark("added latency, p50", apart[0], 5, unit="ms"),
            Mark("service CPU against (b), full load", cpu, 4),
        ],
        bounds=f"at full load {bounds_of(found['full'])}",
    )


def _figures(name: str, figures: Figures) -> list[str]:
    """Without memory: a process has one peak, whichever load it came from."""
    *cells, _ = figure_cells(figures)
    return [*cells[:3], "", ""] if name.startswith("direct") else cells


def _added(contest: Contest, service: str, direct: str) -> tuple[float, float]:
    """What it adds to the middle and to the slow answers, in ms."""
    p50 = contest.of_pairs(service, direct, lambda ours, alone: ours.p50 - alone.p50)
    p99 = contest.of_pairs(service, direct, lambda ours, alone: ours.p99 - alone.p99)
    return p50 * 1e3, p99 * 1e3


def _cells(times: tuple[float, float]) -> list[str]:
    return [f"{time:.1f}" for time in times]
