"""Sending: what the service adds to iovox's own time, and what a send costs."""

from __future__ import annotations

import json
import urllib.request
from contextlib import closing

from bench import servers, traffic
from bench.client import Job
from bench.measure import Figures, measure, middle, run_load
from bench.report import FIGURES, Mark, Section, bounds_of, figure_cells
from bench.servers import Server
from bench.stage import Stage

CONNECTIONS = 50
DELAY = 0.1
"""Seconds that the simulated iovox takes to answer."""
WARM_UP = 1.5

NOTE = (
    "{connections} callers that each wait for their answer, and a simulated iovox (a process of "
    "its own, whose CPU is not counted) that answers after {delay:g} ms and sends no receipts. "
    "Directly: the same load on the simulator without the service. What the service adds is the "
    "difference of the two. FastAPI that does nothing validates the same body, at full speed. "
    "Medians of {rounds} rounds of {seconds:g} s."
)


def measure_send(stage: Stage) -> Section:
    """The service in front of the simulator, the simulator alone, and FastAPI alone."""
    found: dict[str, list[Figures]] = {"noop": [], "direct": [], "service": []}
    iovox = servers.simulator()
    with closing(iovox.process):
        _behave(iovox)
        for number in range(stage.rounds):
            stage.say(f"round {number + 1}: FastAPI that does nothing")
            found["noop"].append(_noop(stage))
            stage.say(f"round {number + 1}: the simulator directly")
            found["direct"].append(_direct(stage, iovox))
            stage.say(f"round {number + 1}: the service")
            found["service"].append(_service(stage, iovox))
    return _section(stage, {name: middle(each) for name, each in found.items()})


def _noop(stage: Stage) -> Figures:
    server = servers.rival("noop")
    with closing(server.process):
        return _window(stage, server, "sends", {"first": 0, "count": 10**6}, 200)


def _direct(stage: Stage, iovox: Server) -> Figures:
    return _window(stage, iovox, "submissions", {"count": 10**6}, 201)


def _service(stage: Stage, iovox: Server) -> Figures:
    database = stage.migrated_database()
    url = stage.postgres.url(database)
    key = servers.dlr(["keys", "create", traffic.APP, "--scope", "send"], url)
    extra = {"DLR_IOVOX_URL": f"http://127.0.0.1:{iovox.port}"}
    server = servers.serve(url, extra=extra)
    with closing(server.process):
        options = {"first": 0, "count": 10**6, "key": key}
        figures = _window(stage, server, "sends", options, 201)
        server.process.terminate()
    unsent = "select count(*) from messages where state <> 'SUBMITTED'"
    if found := int(stage.postgres.execute(unsent, database=database)):
        raise RuntimeError(f"{found} messages were answered 201 but are not SUBMITTED")
    stage.postgres.drop_database(database)
    return figures


def _window(
    stage: Stage, server: Server, source: str, options: dict[str, object], status: int
) -> Figures:
    def job(seconds: float) -> Job:
        return Job(server.port, source, options, seconds, CONNECTIONS)

    run_load(job(WARM_UP), status=status)
    return measure(server, job(stage.seconds), stage.postgres, status=status)[0]


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


def _section(stage: Stage, found: dict[str, Figures]) -> Section:
    noop, alone, ours = found["noop"], found["direct"], found["service"]
    names = {
        "noop": "(b) FastAPI that does nothing",
        "direct": "the simulator directly",
        "service": "this service",
    }
    rows = [[names[name], *figure_cells(figures)] for name, figures in found.items()]
    added = [f"{(ours.p50 - alone.p50) * 1e3:.1f}", f"{(ours.p99 - alone.p99) * 1e3:.1f}"]
    return Section(
        title="Sending through a simulated iovox",
        note=NOTE.format(
            connections=CONNECTIONS, delay=DELAY * 1e3, rounds=stage.rounds, seconds=stage.seconds
        ),
        columns=("", *FIGURES),
        rows=[*rows, ["what the service adds", "", *added, "", "", ""]],
        marks=[
            Mark("added latency, p50", (ours.p50 - alone.p50) * 1e3, 5, unit="ms"),
            Mark("service CPU against (b)", ours.service_cpu / noop.service_cpu, 4),
        ],
        bounds=f"iovox's {DELAY * 1e3:g} ms; meanwhile {bounds_of(ours)}",
    )
