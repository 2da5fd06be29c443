"""Looking a message up by its id, beside the tutorial and a FastAPI that does nothing."""

from __future__ import annotations

from contextlib import closing

from bench import servers, traffic
from bench.client import Job
from bench.data import NUMBERED, settle
from bench.measure import Figures, measure, run_load
from bench.population import Population
from bench.report import FIGURES, Mark, Section, bounds_of, figure_cells
from bench.servers import Server
from bench.stage import SMALL, Stage
from bench.turns import TURNS, WARM_UP, Contender, Contest, in_turns

CONNECTIONS = 64

NOTE = (
    "`GET /v1/messages/{{id}}` by our id over {connections} connections, ids scattered over all of "
    "{messages:,} messages with two receipts each. The service checks the key and answers the "
    "whole history; the tutorial checks nothing: one ORM session, two SELECTs, a response_model. "
    "Medians of {turns} turns of {seconds:g} s, the contenders one after the other in each, and of "
    "the ratios in each turn."
)

# The same messages and receipts as the tutorial keeps them.
_MESSAGES = f"""
insert into tutorial_messages (id, sms_activity_id, origin, destination, message, created_at)
select id::text, sid, '{traffic.ORIGIN}', '4477' || lpad((n % 100000000)::text, 8, '0'),
  '{traffic.TEXT}', made_at {NUMBERED}
"""
_RECEIPTS = f"""
insert into tutorial_receipts
  (sms_activity_id, status, delivery_status, status_reason, receipt_timestamp, received_at)
select sid, status, 'delivery report', '1', to_char(made_at, 'YYYY-MM-DD HH24:MI:SS'), made_at
{NUMBERED}, (values ('ACKNOWLEDGED'), ('DELIVERED')) r(status)
"""


def compare(stage: Stage) -> Section:
    """(a) tutorial, (b) no-op and the service."""
    population = stage.populated(SMALL)
    url = stage.postgres.url(population.database)
    tutorial = servers.rival("tutorial", url)
    _fill(stage, population)  # it has made its tables now
    contenders = {
        "noop": _contender(servers.rival("noop", url), population),
        "tutorial": _contender(tutorial, population),
        "service": _contender(servers.serve(url), population),
    }
    return _section(stage, population, in_turns(stage, contenders))


def _contender(server: Server, population: Population) -> Contender:
    return Contender(server, lambda seconds: _job(server, population, seconds))


def look_up(stage: Stage, server: Server, population: Population) -> Figures:
    """Warm up, measure, stop the server."""
    with closing(server.process):
        run_load(_job(server, population, WARM_UP))
        figures, _ = measure(server, _job(server, population, stage.seconds), stage.postgres)
        server.process.terminate()
    return figures


def _job(server: Server, population: Population, seconds: float) -> Job:
    options = {"first": population.known, "count": population.messages, "key": population.key}
    return Job(server.port, "lookups", options, seconds, CONNECTIONS)


def _fill(stage: Stage, population: Population) -> None:
    for statement in (_MESSAGES, _RECEIPTS):
        last = population.known + population.messages - 1
        filled = statement.format(first=population.known, last=last)
        stage.postgres.execute(filled, database=population.database)
    settle(stage.postgres, population.database)


def _section(stage: Stage, population: Population, contest: Contest) -> Section:
    names = {
        "noop": "(b) FastAPI that does nothing",
        "tutorial": "(a) FastAPI + SQLAlchemy tutorial",
        "service": "this service",
    }
    found = contest.medians()

    def against(rival: str) -> float:
        return contest.of_pairs("service", rival, lambda ours, other: ours.rate / other.rate)

    return Section(
        title="Lookup by id",
        note=NOTE.format(
            connections=CONNECTIONS,
            messages=population.messages,
            turns=stage.rounds * TURNS,
            seconds=stage.seconds / TURNS,
        ),
        columns=("", *FIGURES),
        rows=[[names[name], *figure_cells(figures)] for name, figures in found.items()],
        marks=[
            Mark("requests/s against (a)", against("tutorial"), 4, at_least=True),
            Mark("requests/s against (b)", against("noop"), 0.35, at_least=True),
        ],
        bounds=bounds_of(found["service"]),
    )
