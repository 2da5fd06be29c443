"""Receipts on SQLite: what the smallest installation does, with nothing but a file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import data, servers
from bench.measure import Figures
from bench.receive import Source, direct, known_for, window
from bench.report import FIGURES, Section, bounds_of, figure_cells
from bench.stage import Stage

NOTE = (
    "The same receipts as on PostgreSQL, over 64 connections, into an SQLite file (WAL, "
    "synchronous=FULL). SQLite runs within the service, so its CPU is the service's."
)


def measure_sqlite(stage: Stage) -> Section:
    """The service alone, beside itself on PostgreSQL."""
    postgresql = direct(stage)
    stage.say("SQLite")
    with TemporaryDirectory(prefix="dlr-bench-") as folder:
        figures = _window(stage, Path(folder) / "dlr.db")
    return Section(
        title="Receipts on SQLite",
        note=NOTE,
        columns=("", *FIGURES),
        rows=[
            ["on SQLite", *figure_cells(figures)],
            ["on PostgreSQL", *figure_cells(postgresql)],
        ],
        bounds=bounds_of(figures),
    )


def _window(stage: Stage, file: Path) -> Figures:
    url = f"sqlite:///{file}"
    servers.migrate(url)
    source = Source.of_newest(known_for(stage, rounds=1))
    data.submit_all_to_sqlite(url, source.first, source.known or 0)
    figures = window(servers.serve(url), source, stage.seconds, None)
    with closing(sqlite3.connect(file)) as connection:
        (found,) = connection.execute("select count(*) from receipts").fetchone()
    if found != source.answered:
        raise RuntimeError(f"{found} receipts stored, but {source.answered} were answered 200")
    return figures
