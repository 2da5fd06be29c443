"""`python -m bench`: runs the scenarios, shows what they found, and ends everything it started."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
from rich.console import Console

from bench import (
    ablation,
    big,
    console,
    drain,
    evidence,
    journal,
    lists,
    lookup,
    machine,
    purge,
    receive,
    removed,
    send,
    sqlite,
    streams,
    workers,
)
from bench.measure import WrongAnswers
from bench.report import Section, markdown, show
from bench.stage import Stage
from tests.support.postgresql import PostgresServer

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
Scenario = Callable[[Stage], Section]
SCENARIOS: dict[str, tuple[str, Scenario]] = {
    "receive": ("receipts, the service beside its three rivals", receive.compare),
    "evidence": (
        "receipts with an evidence log and without, and its proofs",
        evidence.measure_evidence,
    ),
    "workers": ("receipts with two worker processes", workers.measure_workers),
    "sqlite": ("receipts on SQLite", sqlite.measure_sqlite),
    "drain": ("a full spool being emptied while new receipts come", drain.measure_drain),
    "journal": ("what the journal costs a receipt", journal.measure_journal),
    "send": ("what the service adds to a send", send.measure_send),
    "lookup": ("lookup by id, beside the tutorial", lookup.compare),
    "streams": ("a thousand open event streams", streams.measure_streams),
    "list": ("a page of every filter, in a small table and a big one", lists.compare),
    "console": ("the pages for people on a big table", console.compare),
    "receipt-devices": ("receipts without each device for speed", ablation.of_receipts),
    "send-devices": ("sends without each of theirs", ablation.of_sends),
    "lookup-devices": ("lookups without each of theirs", ablation.of_lookups),
    "metrics": ("receipts without metrics and logs", ablation.of_watching),
    "removed-devices": ("which devices were taken out, and why", removed.list_removed),
    "purge": ("purging a big table beside receipts", purge.measure_purge),
    "big": ("lookups and receipts in a small table and a big one", big.compare),
}
BIG, BIG_QUICK = 20_000_000, 100_000
"""Receipts in the big table: two of each of ten million messages."""
WAL_WRITTEN = 1024
"""Megabytes of WAL that PostgreSQL has written, and may recycle, before anything is measured."""
FAILURES = (RuntimeError, WrongAnswers, OSError, subprocess.SubprocessError, ExceptionGroup)
WIDTH = 110
"""Characters that a table wants, also where the output is a file."""


def main() -> int:
    """Run what was asked for. 1 where a scenario failed, or, if --strict, a mark was missed."""
    options = _arguments()
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)
    with PostgresServer(settings=_settings()) as postgres:
        _preallocate_wal(postgres)
        about = machine.describe(postgres)
        for name, value in about.items():
            console.print(f"{name}: {value}", style="dim", soft_wrap=True)
        stage = _stage(options, postgres)
        sections = [_run(name, stage, console) for name in options.only or SCENARIOS]
    if options.write:
        options.write.write_text(markdown(sections, about, _command(options)))
        console.print(f"\nwritten to {options.write}")
    marks = [mark for section in sections for mark in section.marks]
    missed = sum(not mark.passed for mark in marks)
    failed = sum(bool(section.failures) for section in sections)
    console.print(f"\n{len(marks) - missed} of {len(marks)} marks pass, {failed} scenarios failed")
    return 1 if failed or (missed and options.strict) else 0


def _stage(options: argparse.Namespace, postgres: PostgresServer) -> Stage:
    return Stage(
        postgres=postgres,
        seconds=options.seconds or (1.5 if options.quick else 3.0),
        rounds=options.rounds or (1 if options.quick else 3),
        quick=options.quick,
        big=options.big or (BIG_QUICK if options.quick else BIG),
    )


def _settings() -> dict[str, str]:
    """A cache as PostgreSQL's manual advises it, and no checkpoint in the middle of a window."""
    quarter = psutil.virtual_memory().total // 4
    return {
        "shared_buffers": f"{quarter // 2**20}MB",
        "max_wal_size": "8GB",
        "min_wal_size": f"{2 * WAL_WRITTEN}MB",
    }


def _preallocate_wal(postgres: PostgresServer) -> None:
    """Have it create WAL files that it can recycle, as any server has that was in use.

    A new one creates them as it goes, and commits that wait for that take up to half a second.
    """
    a_file = "pg_logical_emit_message(false, 'preallocate', repeat('-', 16000000))"
    postgres.execute(f"select count({a_file}) from generate_series(1, {WAL_WRITTEN // 16})")
    postgres.execute("checkpoint")


def _run(name: str, stage: Stage, console: Console) -> Section:
    started = time.monotonic()
    with console.status(name) as status:

        def say(what: str) -> None:
            line = f"{time.monotonic() - started:4.0f} s  {name}: {what}"
            status.update(line)
            if not console.is_terminal:
                console.print(line, style="dim")

        stage.say = say
        try:
            section = SCENARIOS[name][1](stage)
        except FAILURES as error:
            reason = " ".join(str(error).split())[-1000:]
            section = Section(title=name, note=SCENARIOS[name][0], columns=(), failures=[reason])
    section.took = time.monotonic() - started
    show(section, console)
    return section


def _command(options: argparse.Namespace) -> str:
    """The command that writes the document again."""
    chosen = [f"--only {name}" for name in options.only or ()]
    chosen += ["--quick"] * options.quick
    numbers = ("seconds", "rounds", "big")
    chosen += [f"--{name} {value:g}" for name in numbers if (value := getattr(options, name))]
    return f'make bench ARGS="{" ".join(["--write", *chosen])}"'


def _arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench ARGS=...",
        description=__doc__,
        epilog="Scenarios: "
        + "; ".join(f"{name}: {meaning}" for name, (meaning, _) in SCENARIOS.items()),
    )
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="may be repeated")
    parser.add_argument(
        "--quick", action="store_true", help="two or three minutes: less steady, small tables"
    )
    parser.add_argument("--seconds", type=float, help="length of a measured window")
    parser.add_argument("--rounds", type=int, help="windows for each contender")
    parser.add_argument("--big", type=int, help="receipts in the big table, 20 million if left out")
    parser.add_argument(
        "--write",
        type=Path,
        nargs="?",
        const=DOCUMENT,
        metavar="FILE",
        help="write the document as well: docs/performance.md if no FILE is named",
    )
    parser.add_argument("--strict", action="store_true", help="exit code 1 where a mark is missed")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
