"""What the journal costs a receipt: the service beside itself without one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory

from bench import data, servers
from bench.measure import Figures
from bench.receive import Source, check_stored, known_for
from bench.report import FIGURES, Mark, Section, figure_cells
from bench.stage import Stage
from bench.turns import TURNS, Contender, Contest, in_turns

WITH, AGAIN, WITHOUT = "with the journal", "with it, another server", "without: DLR_JOURNAL_FOR=0"
LIMIT = 1.05
NOTE = (
    "Receipts over 64 connections for messages that the database knows, to two servers with the "
    "journal, which differ by chance alone, and one without; {turns} turns of {seconds:g} s in a "
    "random order. What it costs is the median of what the turns' two have more than the one. On "
    "disk a receipt takes {size:,.0f} bytes: 1 GB lasts for {last:.1f} million."
)
SHOWN: tuple[Callable[[Figures], float], ...] = (
    lambda one: one.rate,
    lambda one: one.p50,
    lambda one: one.p99,
    lambda one: one.service_cpu,
    lambda one: one.postgres_cpu,
    lambda one: one.memory,
)
"""The figures of FIGURES."""


def measure_journal(stage: Stage) -> Section:
    """CPU, latency and bytes on disk. Raises RuntimeError where a receipt is lost."""
    postgres, database = stage.postgres, stage.migrated_database()
    source = Source(known=3 * known_for(stage, rounds=stage.rounds))
    stage.say(f"loading {source.known:,} known messages")
    data.submit_all(postgres, database, 0, source.known or 0)
    journaled: list[int] = []

    def count(name: str, answers: int) -> None:
        source.sent(answers)
        if name != WITHOUT:
            journaled.append(answers)

    with TemporaryDirectory() as folder:

        def contender(number: int, name: str) -> Contender:
            settings = {"DLR_SPOOL_DIR": str(Path(folder, str(number)))}
            if name == WITHOUT:
                settings["DLR_JOURNAL_FOR"] = "0"
            server = servers.serve(postgres.url(database), extra=settings)
            return Contender(server, partial(source.job, server.port), partial(count, name))

        names = enumerate((WITH, AGAIN, WITHOUT))
        contest = in_turns(stage, {name: contender(number, name) for number, name in names})
        written = sum(file.stat().st_size for file in Path(folder).rglob("*.journal"))
    check_stored(postgres, database, source.answered)
    postgres.drop_database(database)
    return _section(stage, contest, written / sum(journaled))


def _section(stage: Stage, contest: Contest, size: float) -> Section:
    def cost(figure: Callable[[Figures], float]) -> float:
        turns = zip(*(contest.turns[name] for name in (WITH, AGAIN, WITHOUT)), strict=True)
        return median(
            fmean((figure(one), figure(other))) / figure(without) for one, other, without in turns
        )

    def chance(figure: Callable[[Figures], float]) -> float:
        return contest.of_pairs(AGAIN, WITH, lambda one, other: figure(one) / figure(other))

    rows = [[name, *figure_cells(figures)] for name, figures in contest.medians().items()]
    for what, compare in (("what it costs", cost), ("two servers with it", chance)):
        rows.append([what, *(f"{compare(figure) - 1:+.1%}" for figure in SHOWN)])
    return Section(
        title="What the journal costs a receipt",
        note=NOTE.format(
            turns=stage.rounds * TURNS, seconds=stage.seconds / TURNS, size=size, last=1e3 / size
        ),
        columns=("", *FIGURES),
        rows=rows,
        marks=[
            Mark("CPU of service and PostgreSQL", cost(lambda one: one.cpu), LIMIT),
            Mark("latency, p50", cost(lambda one: one.p50), LIMIT),
        ],
    )
