"""Contenders measured in short turns, with the servers of all of them up all the time.

A machine that is shared with others changes its speed by up to two within seconds. In long windows
one contender would be measured while it is fast and its rival while it is slow; in many short ones
both meet the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from bench.client import Job
from bench.measure import Figures, measure, middle, run_load
from bench.servers import Server
from bench.stage import Stage

TURNS = 3
"""In a round, which are as long together as the round's window was to be."""
WARM_UP = 1.5
"""Seconds of the same load before the first turn: caches, prepared statements, the allocator."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A server and its load: ``job`` of so many seconds. ``answered`` is told how many came."""

    server: Server
    job: Callable[[float], Job]
    answered: Callable[[int], None] = lambda _: None
    status: int = 200


def in_turns(stage: Stage, contenders: Mapping[str, Contender]) -> dict[str, Figures]:
    """The medians of each; its server is stopped at the end."""
    found: dict[str, list[Figures]] = {name: [] for name in contenders}
    with ExitStack() as running:
        for name, each in contenders.items():
            running.enter_context(each.server.process)
            stage.say(f"warming up: {name}")
            each.answered(run_load(each.job(WARM_UP), status=each.status).answers)
        for turn in range(stage.rounds * TURNS):
            stage.say(f"turn {turn + 1} of {stage.rounds * TURNS}")
            for name, each in contenders.items():
                job = each.job(stage.seconds / TURNS)
                figures, came = measure(each.server, job, stage.postgres, status=each.status)
                each.answered(came.answers)
                found[name].append(figures)
        for each in contenders.values():
            each.server.process.terminate()
    return {name: middle(each) for name, each in found.items()}
