"""What growth costs: lookups and receipts in a small table and in a big one."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from bench import servers
from bench.client import Job
from bench.lookup import look_up
from bench.measure import Figures, measure, middle, run_load
from bench.population import Population
from bench.report import FIGURES, Mark, Section, bounds_of, figure_cells
from bench.stage import KNOWN, SMALL, Stage, name_of

RECEIPTS = 24_000
"""In a measured window, always the same number: so the small table stays small."""
WARM_UP_RECEIPTS = 4_000
PATIENCE = 120.0
"""Seconds for that many, on any machine."""

NOTE = (
    "The same service on {small:,} and on {big:,} receipts, in turn, medians of {rounds} rounds. "
    "Receipts: {window:,} a window, for messages that were known and had none, by ids scattered "
    "over the whole index; the small table is a fresh copy each time. The WAL is counted right "
    "after a checkpoint, where it is at its most: the first change to a page is logged as the "
    "whole page, and in a big table nearly every receipt meets a page that has not been changed "
    "yet."
)


@dataclass(frozen=True, slots=True)
class Received:
    """A window of receipts. ``wal``: bytes of write-ahead log a receipt."""

    figures: Figures
    wal: float


def compare(stage: Stage) -> Section:
    """Small beside big."""
    sizes = (SMALL, stage.big)
    populations = [stage.populated(size) for size in sizes]
    lookups: dict[int, list[Figures]] = {size: [] for size in sizes}
    received: dict[int, list[Received]] = {size: [] for size in sizes}
    for number in range(stage.rounds):
        for size, population in zip(sizes, populations, strict=True):
            stage.say(f"round {number + 1}: lookups in {size:,} receipts")
            server = servers.serve(stage.postgres.url(population.database))
            lookups[size].append(look_up(stage, server, population))
            stage.say(f"round {number + 1}: receipts into {size:,}")
            received[size].append(_receive(stage, population, is_small=size == SMALL))
    return _section(stage, [p.receipts for p in populations], lookups, received)


def _receive(stage: Stage, population: Population, *, is_small: bool) -> Received:
    """One window, into a copy of the small table or into the big one itself."""
    postgres, database = stage.postgres, population.database
    first = 0 if is_small else population.next_known
    if is_small:
        database = name_of(postgres.create_database(template=database))
    else:
        population.next_known += KNOWN
    server = servers.serve(postgres.url(database))
    with closing(server.process):
        options = {"first": first, "count": KNOWN}
        run_load(Job(server.port, "receipts", options, PATIENCE, most=WARM_UP_RECEIPTS))
        postgres.execute("checkpoint")
        begun = _wal(stage)
        options = {"first": first + WARM_UP_RECEIPTS, "count": KNOWN}
        job = Job(server.port, "receipts", options, PATIENCE, most=RECEIPTS)
        figures, done = measure(server, job, postgres)
        wal = (_wal(stage) - begun) / done.answers
        server.process.terminate()
    if is_small:
        postgres.drop_database(database)
    return Received(figures, wal)


def _wal(stage: Stage) -> int:
    """Bytes of WAL since the cluster was made."""
    return int(stage.postgres.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))


def _section(
    stage: Stage,
    counted: list[int],
    lookups: dict[int, list[Figures]],
    received: dict[int, list[Received]],
) -> Section:
    looked = {size: middle(each) for size, each in lookups.items()}
    stored = {size: middle([one.figures for one in each]) for size, each in received.items()}
    wal = {size: sorted(one.wal for one in each)[len(each) // 2] for size, each in received.items()}
    small, big = SMALL, stage.big
    rows = [
        [f"lookup, {count:,} receipts", *figure_cells(looked[size]), ""]
        for size, count in zip((small, big), counted, strict=True)
    ] + [
        [f"receive, {count:,} receipts", *figure_cells(stored[size]), f"{wal[size]:,.0f}"]
        for size, count in zip((small, big), counted, strict=True)
    ]
    return Section(
        title="A big table",
        note=NOTE.format(small=counted[0], big=counted[1], rounds=stage.rounds, window=RECEIPTS),
        columns=("", *FIGURES, "WAL bytes"),
        rows=rows,
        marks=[
            Mark("lookup, CPU of service + PostgreSQL", looked[big].cpu / looked[small].cpu, 1.2),
            Mark("receive, CPU of service + PostgreSQL", stored[big].cpu / stored[small].cpu, 2),
        ],
        bounds=f"receiving into the big table {bounds_of(stored[big])}",
    )
