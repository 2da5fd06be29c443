"""Garbage is collected while nobody waits."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from app.server.garbage import OLDER_EVERY, QUIET, WORTH_IT, QuietCollector

SECONDS = 0.1
"""Between two looks."""


class Clocks:
    """What has passed, and what the thread has computed of it."""

    def __init__(self) -> None:
        self.wall = self.busy = 0.0

    def look(self, collector: QuietCollector, *, share: float) -> None:
        self.wall += SECONDS
        self.busy += share * SECONDS
        collector.look()


@pytest.fixture(autouse=True)
def collected() -> Iterator[list[int]]:
    """The generations that were collected; nothing else collects meanwhile."""
    found: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            found.append(info["generation"])

    gc.collect()
    gc.disable()
    gc.callbacks.append(note)
    yield found
    gc.callbacks.remove(note)
    gc.enable()


def collector() -> tuple[QuietCollector, Clocks]:
    clocks = Clocks()
    return QuietCollector(wall=lambda: clocks.wall, busy=lambda: clocks.busy), clocks


def litter() -> list[list[None]]:
    return [[] for _ in range(WORTH_IT + 100)]


def test_at_a_quiet_moment_what_is_worth_it(collected: list[int]) -> None:
    garbage, clocks = collector()
    clocks.look(garbage, share=QUIET / 2)
    assert collected == []
    kept = litter()
    clocks.look(garbage, share=QUIET / 2)
    assert (collected, len(kept)) == ([0], WORTH_IT + 100)
    clocks.look(garbage, share=QUIET / 2)
    assert collected == [0]


def test_not_while_there_is_much_to_do(collected: list[int]) -> None:
    garbage, clocks = collector()
    kept = litter()
    for _ in range(5):
        clocks.look(garbage, share=(1 + QUIET) / 2)
    assert (collected, len(kept)) == ([], WORTH_IT + 100)
    clocks.look(garbage, share=0)
    assert collected == [0]


def test_now_and_then_also_what_is_older(collected: list[int]) -> None:
    garbage, clocks = collector()
    for _ in range(OLDER_EVERY):
        kept = litter()
        clocks.look(garbage, share=0)
        del kept
    assert collected == [0] * (OLDER_EVERY - 1) + [1]
