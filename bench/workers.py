"""Receipts with two worker processes on one port."""

from __future__ import annotations

from bench.receive import direct, on_postgres
from bench.report import FIGURES, Section, bounds_of, figure_cells
from bench.stage import Stage

WORKERS = 2
NOTE = (
    "`dlr serve --workers 2`, the same load as for one worker. With the load process and "
    "PostgreSQL on the same cores a second worker has little left to run on: the CPU columns say "
    "what it would bring where there are more. Memory is the larger worker's."
)


def measure_workers(stage: Stage) -> Section:
    """Two workers beside one."""
    one = direct(stage)
    stage.say(f"{WORKERS} workers")
    two = on_postgres(stage, workers=WORKERS)
    return Section(
        title="Receipts with two workers",
        note=NOTE,
        columns=("", *FIGURES),
        rows=[["1 worker", *figure_cells(one)], [f"{WORKERS} workers", *figure_cells(two)]],
        bounds=bounds_of(two),
    )
