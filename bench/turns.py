"""Contenders measured in short turns, with the servers of all of them up all the time.

A machine that is shared with others changes its speed by up to two within seconds. In long windows
one contender would be measured while it is fast and its rival while it is slow. So a ratio is that
of two turns which came one after the other, and of all of those the median. The order changes from
turn to turn: what one leaves to be done, such as a vacuum, others pay for.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from bench.client import Job, LoadResult
from bench.measure import Figures, measure, middle, run_load
from bench.servers import Server
from bench.stage import Stage

TURNS = 3
"""Turns of a round; together they are as long as the round's window."""
WARM_UP = 1.5
"""Seconds of the same load before the first turn: caches, prepared statements, the allocator."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A server and its load: ``job`` of so many seconds. ``answered`` gets the number of answers.

    ``rest`` is called after each turn; its CPU counts for the turn.
    """

    server: Server
    job: Callable[[float], Job]
    answered: Callable[[int], None] = lambda _: None
    status: int = 200
    rest: Callable[[], None] | None = None

    def end(self, done: LoadResult) -> None:
        """A load is over."""
        self.answered(done.answers)
        if self.rest is not None:
            self.rest()


@dataclass(frozen=True, slots=True)
class Contest:
    """What each turn showed of each contender."""

    turns: Mapping[str, Sequence[Figures]]

    def medians(self) -> dict[str, Figures]:
        """The median of each figure over all turns, by contender."""
        return {name: middle(each) for name, each in self.turns.items()}

    def of_pairs(self, one: str, other: str, compare: Callable[[Figures, Figures], float]) -> float:
        """The median of what the turns of two contenders give when they are compared."""
        pairs = zip(self.turns[one], self.turns[other], strict=True)
        return median(compare(ours, theirs) for ours, theirs in pairs)


def in_turns(stage: Stage, contenders: Mapping[str, Contender]) -> Contest:
    """Measure them all; their servers are stopped at the end."""
    found: dict[str, list[Figures]] = {name: [] for name in contenders}
    with ExitStack() as running:
        for name, each in contenders.items():
            running.enter_context(each.server.process)
            stage.say(f"warming up: {name}")
            each.end(run_load(each.job(WARM_UP), status=each.status))
        for turn in range(stage.rounds * TURNS):
            stage.say(f"turn {turn + 1} of {stage.rounds * TURNS}")
            for name in _shuffled(contenders, turn):
                each = contenders[name]
                job = each.job(stage.seconds / TURNS)
                figures, _ = measure(
                    each.server, job, stage.postgres, status=each.status, rest=each.end
                )
                found[name].append(figures)
        for each in contenders.values():
            each.server.process.terminate()
    return Contest(found)


def _shuffled(names: Iterable[str], turn: int) -> list[str]:
    return random.Random(turn).sample([*names], len([*names]))
