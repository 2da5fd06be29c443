"""The receive path beside its rivals: known messages, two receipts each, final indexes in place."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from bench import data, servers, traffic
from bench.client import Job
from bench.measure import Figures, measure, run_load
from bench.report import FIGURES, Mark, Section, bounds_of, figure_cells
from bench.servers import Server
from bench.stage import Stage
from bench.turns import TURNS, WARM_UP, Contender, Contest, in_turns
from tests.support.postgresql import PostgresServer

DIRECT = "receipts, one worker on PostgreSQL"
"""Under what name the figures are kept for later scenarios."""
FASTEST = 32_000
"""Receipts a second that the service is given messages for; should it be faster, it runs out."""

NOTE = (
    "Unique receipts over 64 connections, two for each message that the database knows "
    "(ACKNOWLEDGED, then DELIVERED), which are of the last hours, every answer checked and the "
    "stored rows counted. One worker, uvloop, httptools, no access log for all. The load process "
    "has the machine's cores in common with the server and PostgreSQL and is not counted; medians "
    "of {turns} turns of {seconds:g} s, the contenders one after the other in each, and of the "
    "ratios in each turn."
)


@dataclass(slots=True)
class Source:
    """Receipts that were not sent yet: the next window goes on where the last one ended.

    They are of ``known`` messages from ``first`` on, or of any number of them.
    """

    known: int | None = None
    first: int = 0
    sent_of: int = 0
    answered: int = 0

    @classmethod
    def of_newest(cls, known: int) -> Source:
        """Receipts come seconds after their texts, and the hours of these are counted anew."""
        return cls(known, traffic.newest(known))

    def job(self, port: int, seconds: float) -> Job:
        """A load of as many receipts as there is time for."""
        count = 10**9 if self.known is None else self.known - self.sent_of
        options = {"first": self.first + self.sent_of, "count": count}
        return Job(port=port, source="receipts", options=options, seconds=seconds)

    def sent(self, answers: int) -> None:
        """Answers came: those receipts are not sent again."""
        self.answered += answers
        self.sent_of += answers // 2 + 1024  # past the block that was under way


def compare(stage: Stage) -> Section:
    """(a) tutorial, (b) no-op, (c) bare, and the service on PostgreSQL."""
    postgres = stage.postgres
    database = stage.migrated_database()
    known = known_for(stage, rounds=stage.rounds)
    stage.say(f"loading {known:,} known messages")
    service, tutorial = Source.of_newest(known), Source()
    data.submit_all(postgres, database, service.first, known)
    url = postgres.url(database)
    contenders = {
        "bare": _contender(servers.rival("bare"), Source()),
        "noop": _contender(servers.rival("noop"), Source()),
        "tutorial": _contender(servers.rival("tutorial", url), tutorial),
        "service": _contender(servers.serve(url), service),
    }
    contest = in_turns(stage, contenders)
    check_stored(postgres, database, service.answered, tutorial.answered)
    stage.postgres.drop_database(database)
    stage.found[DIRECT] = contest.medians()["service"]
    return _section(stage, contest)


def _contender(server: Server, source: Source) -> Contender:
    return Contender(server, lambda seconds: source.job(server.port, seconds), source.sent)


def window(
    server: Server, source: Source, seconds: float, postgres: PostgresServer | None
) -> Figures:
    """Warm up, measure, stop the server."""
    with closing(server.process):
        warm = run_load(source.job(server.port, WARM_UP))
        source.sent(warm.answers)
        figures, done = measure(server, source.job(server.port, seconds), postgres)
        source.sent(done.answers)
        server.process.terminate()
    return figures


def on_postgres(stage: Stage, *, workers: int) -> Figures:
    """The service alone, on known messages of its own. Raises RuntimeError where one is lost."""
    database = stage.migrated_database()
    source = Source.of_newest(known_for(stage, rounds=1))
    data.submit_all(stage.postgres, database, source.first, source.known or 0)
    server = servers.serve(stage.postgres.url(database), workers=workers)
    figures = window(server, source, stage.seconds, stage.postgres)
    check_stored(stage.postgres, database, source.answered)
    stage.postgres.drop_database(database)
    return figures


def direct(stage: Stage) -> Figures:
    """What one worker on PostgreSQL does: as `receive` found it in this run, or measured now."""
    if DIRECT not in stage.found:
        stage.say("one worker, for comparison")
        stage.found[DIRECT] = on_postgres(stage, workers=1)
    return stage.found[DIRECT]


def known_for(stage: Stage, *, rounds: int) -> int:
    """Messages enough for so many windows."""
    return int((rounds * stage.seconds + WARM_UP) * FASTEST / 2) + (rounds * TURNS + 1) * 1024


def check_stored(
    postgres: PostgresServer, database: str, service: int, tutorial: int | None = None
) -> None:
    """Every receipt that was answered 200 is there, once, with its event. Raises RuntimeError."""
    wanted = {
        "select count(*) from receipts": service,
        "select count(*) from events where status <> 'SUBMITTED'": service,
    }
    if tutorial is not None:
        wanted["select count(*) from tutorial_receipts"] = tutorial
    for query, count in wanted.items():
        found = int(postgres.execute(query, database=database))
        if found != count:
            raise RuntimeError(f"{query}: {found} rows, but {count} receipts were answered 200")


def _section(stage: Stage, contest: Contest) -> Section:
    names = {
        "bare": "(c) bare ASGI callable",
        "noop": "(b) FastAPI that does nothing",
        "tutorial": "(a) FastAPI + SQLAlchemy tutorial",
        "service": "this service",
    }
    found = contest.medians()
    return Section(
        title="Receipts: the service beside its rivals",
        note=NOTE.format(turns=stage.rounds * TURNS, seconds=stage.seconds / TURNS),
        columns=("", *FIGURES),
        rows=[[names[name], *figure_cells(figures)] for name, figures in found.items()],
        marks=marks(contest),
        bounds=f"at full load {bounds_of(found['service'])}",
    )


def marks(contest: Contest) -> list[Mark]:
    """What the design promises of the receive path."""
    against_bare = contest.of_pairs(
        "service", "bare", lambda ours, bare: ours.service_cpu / bare.service_cpu
    )
    return [Mark("service CPU against (c)", against_bare, 2.2)]
