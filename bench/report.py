"""What the benchmarks found, as tables for the terminal and as Markdown for docs/."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from bench.measure import Figures


@dataclass(frozen=True, slots=True)
class Mark:
    """A figure that was promised. ``at_least`` or at most ``limit``."""

    what: str
    value: float
    limit: float
    at_least: bool = False
    unit: str = "x"

    @property
    def passed(self) -> bool:
        """Whether the promise is kept."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def cells(self) -> list[str]:
        """A row of the table of marks."""
        sign = "≥" if self.at_least else "≤"
        shown = [f"{value:,.3g}" if value < 100 else f"{value:,.0f}" for value in self._both()]
        verdict = "pass" if self.passed else "MISS"
        return [self.what, f"{shown[0]}{self._unit()}", f"{sign} {shown[1]}{self._unit()}", verdict]

    def _both(self) -> tuple[float, float]:
        return self.value, self.limit

    def _unit(self) -> str:
        return "\N{MULTIPLICATION SIGN}" if self.unit == "x" else f" {self.unit}"


@dataclass(slots=True)
class Section:
    """One scenario: what was done, what it showed, what bounds it, how it stands to the marks."""

    title: str
    note: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    bounds: str = ""
    failures: list[str] = field(default_factory=list)
    took: float = 0.0


FIGURES = (
    "requests/s",
    "p50 ms",
    "p99 ms",
    "service CPU µs",
    "PostgreSQL CPU µs",
    "peak memory MB",
)
FULL = 0.9
"""Of a core: above it there is nothing left."""
_MARKS = ("mark", "measured", "promised", "")


def figure_cells(figures: Figures) -> list[str]:
    """A row under FIGURES."""
    return [
        f"{figures.rate:,.0f}",
        f"{figures.p50 * 1e3:.1f}",
        f"{figures.p99 * 1e3:.1f}",
        f"{figures.service_cpu:,.0f}",
        f"{figures.postgres_cpu:,.0f}",
        f"{figures.memory / 1e6:.0f}",
    ]


def bounds_of(figures: Figures) -> str:
    """What limited this load, by where the machine's CPU time went."""
    cores = os.cpu_count() or 1
    service, postgres, load, other = (
        figures.cores(cpu)
        for cpu in (
            figures.service_cpu,
            figures.postgres_cpu,
            figures.load_cpu,
            figures.other_cpu,
        )
    )
    used = (
        f"the service kept {service:.2f} of {cores} cores busy, PostgreSQL {postgres:.2f}, "
        f"the load process {load:.2f}, everything else on the machine {other:.2f}: "
    )
    for full, why in (
        (service > FULL, "its one event loop is what is full."),
        (service + postgres + load + other > FULL * cores, "the machine's cores are full."),
    ):
        if full:
            return used + why
    return used + "none is full, so it waits: for the disk's flush of each commit, and its turn."


def show(section: Section, console: Console) -> None:
    """Print a section."""
    console.print()
    console.print(_table(section.columns, section.rows, title=section.title))
    for failure in section.failures:
        console.print(f"FAILED: {failure}", style="bold red")
    if section.marks:
        rows = [mark.cells() for mark in section.marks]
        console.print(_table(_MARKS, rows))
    console.print(section.note, style="dim")
    if section.bounds:
        console.print(f"What bounds it: {section.bounds}", style="dim")


def markdown(sections: Sequence[Section], machine: Mapping[str, str], command: str) -> str:
    """The whole run as a document."""
    lines = [
        "# Performance",
        "",
        (
            f"Written by `{command}`. Ratios within one run are to be trusted; across runs and "
            "machines, the CPU columns at most. CPU is in microseconds a request, read from /proc "
            "for all processes of the server and for all of PostgreSQL's."
        ),
        "",
        *(f"- {name}: {value}" for name, value in machine.items()),
    ]
    for section in sections:
        lines += ["", f"## {section.title}", "", section.note, ""]
        if section.rows:
            lines += _markdown_table(section.columns, section.rows)
        if section.marks:
            rows = [mark.cells() for mark in section.marks]
            lines += ["", *_markdown_table(_MARKS, rows)]
        lines += [f"\nFailed: {failure}" for failure in section.failures]
        if section.bounds:
            lines += ["", f"What bounds it: {section.bounds}"]
    return "\n".join(lines) + "\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> Table:
    table = Table(title=title or None, title_justify="left", title_style="bold", box=None)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        missed = row[-1] == "MISS"
        table.add_row(*row, style="bold red" if missed else None)
    return table


def _markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows)]
