"""Sending: what the service adds to iovox's own time, and what a send costs."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime

from bench import servers, traffic
from bench.client import Job
from bench.report import FIGURES, Mark, Section, bounds_of, figure_cells
from bench.servers import Server
from bench.stage import SMALL, Stage, name_of
from bench.turns import TURNS, Contender, Contest, in_turns

CONNECTIONS = 50
DELAY = 0.1
"""Seconds that the simulated iovox takes to answer."""

NOTE = (
    "{connections} callers that each wait for their answer, and a simulated iovox (a process of "
    "its own, whose CPU is not counted) that answers after {delay:g} ms and sends no receipts. "
    "Directly: the same load on the simulator without the service. What the service adds is the "
    "difference of the two. FastAPI that does nothing validates the same body, at full speed. "
    "Medians of {turns} turns of {seconds:g} s, the contenders one after the other in each, and of "
    "the differences and ratios in each turn."
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
    _behave(iovox)
    service = servers.serve(url, extra={"DLR_IOVOX_URL": f"http://127.0.0.1:{iovox.port}"})
    sends: dict[str, object] = {"first": 0, "count": 10**6}
    contenders = {
        "noop": _contender(servers.rival("noop"), "sends", sends, 200),
        "direct": _contender(iovox, "submissions", {"count": 10**6}, 201),
        "service": _contender(service, "sends", {**sends, "key": key}, 201),
    }
    began = datetime.now(UTC)
    contest = in_turns(stage, contenders)
    unsent = f"select count(*) from messages where state <> 'SUBMITTED' and created_at > '{began}'"
    if count := int(postgres.execute(unsent, database=database)):
        raise RuntimeError(f"{count} messages were answered 201 but are not SUBMITTED")
    postgres.drop_database(database)
    return _section(stage, contest)


def _contender(server: Server, source: str, options: dict[str, object], status: int) -> Contender:
    def job(seconds: float) -> Job:
        return Job(server.port, source, options, seconds, CONNECTIONS)

    return Contender(server, job, status=status)


def _behave(iovox: Server) -> None:
    """Set the simulator's knobs."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{iovox.port}/_simulator/behaviour",
        data=json.dumps({"answer_delay": DELAY, "receipts": False}).encode(),
        headers={"Content-Type": "application/json"},
    )
    without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with without_proxy.open(request, timeout=10):
        pass


def _section(stage: Stage, contest: Contest) -> Section:
    found = contest.medians()
    names = {
        "noop": "(b) FastAPI that does nothing",
        "direct": "the simulator directly",
        "service": "this service",
    }
    rows = [[names[name], *figure_cells(figures)] for name, figures in found.items()]
    p50 = contest.of_pairs("service", "direct", lambda ours, alone: ours.p50 - alone.p50) * 1e3
    p99 = contest.of_pairs("service", "direct", lambda ours, alone: ours.p99 - alone.p99) * 1e3
    cpu = contest.of_pairs(
        "service", "noop", lambda ours, noop: ours.service_cpu / noop.service_cpu
    )
    added = [f"{p50:.1f}", f"{p99:.1f}"]
    return Section(
        title="Sending through a simulated iovox",
        note=NOTE.format(
            connections=CONNECTIONS,
            delay=DELAY * 1e3,
            turns=stage.rounds * TURNS,
            seconds=stage.seconds / TURNS,
        ),
        columns=("", *FIGURES),
        rows=[*rows, ["what the service adds", "", *added, "", "", ""]],
        marks=[
            Mark("added latency, p50", p50, 5, unit="ms"),
            Mark("service CPU against (b)", cpu, 4),
        ],
        bounds=f"iovox's {DELAY * 1e3:g} ms; meanwhile {bounds_of(found['service'])}",
    )
