"""What the evidence log costs: receipts over HTTP with it and without, and proofs in a big one."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from app.record.evidence.keys import write_key
from app.record.evidence.note import SigningKey
from bench import data, servers, traffic
from bench.client import Job, LoadResult
from bench.measure import Figures, run_load
from bench.receive import Source, check_stored, known_for
from bench.report import FIGURES, Mark, Section, bounds_of, figure_cells
from bench.servers import Server
from bench.stage import Stage
from bench.turns import TURNS, Contender, Contest, in_turns
from tests.support.postgresql import PostgresServer

FACTS, FACTS_QUICK = 1_000_000, 20_000
"""In the log before anything is measured: two for each message."""
RATE = 2_000.0
"""Receipts a second beside which facts are appended."""
STEADY = 5.0
"""Seconds of that, and of doing nothing."""
PROOFS = 200
REST = 1.5
"""Seconds after a turn: in these the log gets what it lacks, and its CPU counts for the turn."""
PATIENCE = 600.0
"""Seconds for the log to get all there is."""

NOTE = (
    "Receipts as above, into two databases with {known:,} messages each, one with an evidence log "
    "of {facts:,} facts, by two servers at the same time up. A turn of {seconds:g} s is followed "
    "by {rest:g} s in which the log gets the rest of its facts: the CPU is that of both together, "
    "less the {idle:.1f} ms a second that a service without a log takes with nothing to do. "
    "Medians of {turns} turns. Beside {rate:,.0f} receipts/s it appended {appended:,.0f} facts/s, "
    "and {waiting:,} waited in the end; the {facts:,} facts of messages came at {alone:,.0f}/s. "
    "With nothing to do, a process with a log takes {more_idle:.1f} ms of CPU a second more. The "
    "evidence of a message with two receipts: {p50:.1f} ms (p50), {p99:.1f} ms (p99), one after "
    "the other."
)


@dataclass(slots=True)
class Log:
    """The log of a database, and how many facts it is to have."""

    postgres: PostgresServer
    database: str
    source: Source
    of_messages: int = 0

    def size(self) -> int:
        """Its facts; -1 before it has begun."""
        return int(self._ask("select coalesce(max(size), -1) from evidence_logs"))

    def lacks(self) -> int:
        """How many facts of those that are due are missing."""
        return 1 + self.of_messages + self.source.answered - self.size()

    def wait(self, is_there: Callable[[], bool]) -> None:
        """Raises RuntimeError after PATIENCE."""
        deadline = time.monotonic() + PATIENCE
        while not is_there():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the evidence log lacks {self.lacks():,} facts")
            time.sleep(0.1)

    def settle(self) -> None:
        """Rest, until it has everything."""
        time.sleep(REST)
        self.wait(lambda: self.lacks() <= 0)

    def _ask(self, query: str) -> str:
        return self.postgres.execute(query, database=self.database)


def measure_evidence(stage: Stage) -> Section:
    """With a log and without, beside (c)."""
    postgres = stage.postgres
    facts = FACTS_QUICK if stage.quick else FACTS
    known = max(facts // 2, known_for(stage, rounds=stage.rounds) + int(STEADY * RATE))
    plain, proving = stage.migrated_database(), stage.migrated_database()
    sources = {name: Source.of_newest(known) for name in ("without", "with")}
    log = Log(postgres, proving, sources["with"])
    running = {
        "bare": servers.rival("bare"),
        "without": servers.serve(postgres.url(plain)),
        "with": servers.serve(postgres.url(proving), extra=_with_key()),
    }
    key = servers.dlr(["keys", "create", traffic.APP, "--scope", "read"], postgres.url(proving))
    with closing(running["with"].process):
        log.wait(lambda: log.size() >= 0)  # it begins before the messages do
        for database in (plain, proving):
            stage.say(f"loading {known:,} messages")
            data.submit_all(postgres, database, sources["with"].first, known)
        log.of_messages, began = 2 * known, time.monotonic()
        stage.say("appending their facts")
        log.wait(lambda: log.lacks() <= 0)
        alone = 2 * known / (time.monotonic() - began)
        data.settle(postgres, proving)  # as the rest was, before there were facts
        stage.say("idle")
        idle, with_log = _idle(running["without"]), _idle(running["with"])
        stage.say(f"{RATE:g} receipts/s")
        appended, waiting = _beside(log, running["with"])
        log.settle()
        stage.say("proofs")
        proofs = _prove(running["with"], sources["with"], key)
        contest = _without_rests(
            in_turns(stage, _contenders(running, sources, log)), idle, stage.seconds / TURNS
        )
    for name, database in (("without", plain), ("with", proving)):
        check_stored(postgres, database, sources[name].answered)
        postgres.drop_database(database)
    note = NOTE.format(
        known=known,
        facts=2 * known,
        seconds=stage.seconds / TURNS,
        rest=REST,
        turns=stage.rounds * TURNS,
        rate=RATE,
        appended=appended,
        waiting=waiting,
        alone=alone,
        idle=idle,
        more_idle=with_log - idle,
        p50=proofs.p50 * 1e3,
        p99=proofs.p99 * 1e3,
    )
    return _section(note, contest, [
        Mark("facts appended beside receipts", appended, 1_000, True, "facts/s"),
        Mark("evidence of a message, p50", proofs.p50 * 1e3, 20, unit="ms"),
    ])  # fmt: skip


def _with_key() -> dict[str, str]:
    file = Path(tempfile.mkdtemp(prefix="bench-")) / "evidence.key"
    write_key(file, SigningKey.generate("bench.example/log"))
    return {"DLR_EVIDENCE_KEY_FILE": str(file)}


def _contenders(
    running: dict[str, Server], sources: dict[str, Source], log: Log
) -> dict[str, Contender]:
    bare = Source()
    of_bare = running["bare"]
    contenders = {
        "bare": Contender(of_bare, lambda seconds: bare.job(of_bare.port, seconds), bare.sent)
    }
    for name, rest in (("without", lambda: time.sleep(REST)), ("with", log.settle)):
        contenders[name] = _contender(running[name], sources[name], rest)
    return contenders


def _contender(server: Server, source: Source, rest: Callable[[], None]) -> Contender:
    return Contender(
        server, lambda seconds: source.job(server.port, seconds), source.sent, rest=rest
    )


def _idle(server: Server) -> float:
    """Milliseconds of CPU a second."""
    began = server.process.cpu_seconds()
    time.sleep(STEADY)
    return (server.process.cpu_seconds() - began) / STEADY * 1e3


def _without_rests(contest: Contest, idle: float, seconds: float) -> Contest:
    """Without what the rests behind turns of so many seconds cost a service that has no log."""

    def corrected(figures: Figures) -> Figures:
        of_rest = idle * REST * 1e3 / (figures.rate * seconds)
        return replace(figures, service_cpu=figures.service_cpu - of_rest)

    return Contest(
        {
            name: turns if name == "bare" else [corrected(figures) for figures in turns]
            for name, turns in contest.turns.items()
        }
    )


def _beside(log: Log, server: Server) -> tuple[float, int]:
    """Facts a second that were appended beside receipts, and how many then waited."""
    job = log.source.job(server.port, STEADY)
    sizes: list[tuple[int, float]] = []
    done = run_load(
        Job(job.port, job.source, job.options, STEADY, rate=RATE),
        at_both_ends=lambda: sizes.append((log.size(), time.monotonic())),
    )
    log.source.sent(done.answers)
    (before, began), (after, ended) = sizes
    return (after - before) / (ended - began), log.lacks()


def _prove(server: Server, source: Source, key: str) -> LoadResult:
    numbers = (source.first + n * traffic.STRIDE % (source.answered // 2) for n in range(PROOFS))
    paths = [(f"/v1/messages/{traffic.message_id(n)}/evidence", key) for n in numbers]
    return run_load(Job(server.port, "pages", {"requests": paths}, PATIENCE, connections=1))


def _section(note: str, contest: Contest, marks: list[Mark]) -> Section:
    names = {"bare": "(c) bare ASGI callable", "without": "no log", "with": "with the log"}
    found = contest.medians()

    def added(one: Figures, other: Figures) -> float:
        return (one.cpu / other.cpu - 1) * 100

    def against(one: Figures, other: Figures) -> float:
        return one.service_cpu / other.service_cpu

    return Section(
        title="The evidence log",
        note=note,
        columns=("", *FIGURES),
        rows=[[names[name], *figure_cells(figures)] for name, figures in found.items()],
        marks=[
            Mark(
                "the log's part of the CPU",
                contest.of_pairs("with", "without", added),
                25,
                unit="%",
            ),
            Mark("service CPU against (c)", contest.of_pairs("with", "bare", against), 2.2),
            *marks,
        ],
        bounds=f"with the log {bounds_of(found['with'])}",
    )
