"""Garbage is collected while nobody waits."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from app.server.garbage import OLDER_EVERY, OLDEST_SHARE, QUIET, WORTH_IT, QuietCollector

SECONDS = 0.1
"""Between two looks."""
COLLECTING = 0.01
"""Seconds that a collection takes here."""
UNTIL_OLDEST = COLLECTING / OLDEST_SHARE


class Clocks:
    """What has passed, what the thread has computed of it, and what was collected."""

    def __init__(self) -> None:
        self.wall = self.busy = 0.0
        self.collected: list[int] = []

    def look(self, collector: QuietCollector, *, share: float = 0.0, after: float = SECONDS) -> int:
        """How many collections there were."""
        before = len(self.collected)
        self.wall += after
        self.busy += share * after
        collector.look()
        return len(self.collected) - before

    def note(self, phase: str, info: dict[str, int]) -> None:
        """As the interpreter tells it."""
        if phase == "start":
            self.collected.append(info["generation"])
        else:
            self.wall += COLLECTING
            self.busy += COLLECTING


@pytest.fixture
def clocks() -> Iterator[Clocks]:
    """Nothing else collects meanwhile."""
    clocks = Clocks()
    gc.collect()
    gc.freeze()  # what other tests have left is no part of it
    gc.disable()
    gc.callbacks.append(clocks.note)
    yield clocks
    gc.callbacks.remove(clocks.note)
    gc.enable()


def collector_by(clocks: Clocks) -> QuietCollector:
    """One that has just looked at everything."""
    collector = QuietCollector(wall=lambda: clocks.wall, busy=lambda: clocks.busy)
    made = litter()
    assert clocks.look(collector) == 1
    clocks.collected.clear()
    del made
    return collector


def litter() -> list[list[None]]:
    return [[] for _ in range(WORTH_IT + 100)]


def test_at_a_quiet_moment_what_is_worth_it(clocks: Clocks) -> None:
    collector = collector_by(clocks)
    assert clocks.look(collector, share=QUIET / 2) == 0
    kept = litter()
    assert clocks.look(collector, share=QUIET / 2) == 1
    assert (clocks.collected, len(kept)) == ([0], WORTH_IT + 100)
    assert clocks.look(collector, share=QUIET / 2) == 0


def test_not_while_there_is_much_to_do(clocks: Clocks) -> None:
    collector = collector_by(clocks)
    kept = litter()
    for _ in range(5):
        assert clocks.look(collector, share=(1 + QUIET) / 2) == 0
    assert clocks.look(collector) == 1
    assert (clocks.collected, len(kept)) == ([0], WORTH_IT + 100)


def test_now_and_then_also_what_is_older(clocks: Clocks) -> None:
    collector = collector_by(clocks)
    for _ in range(OLDER_EVERY):
        kept = litter()
        assert clocks.look(collector) == 1
        del kept
    assert sorted(clocks.collected) == [0] * (OLDER_EVERY - 1) + [1]


def test_what_outlived_two_collections_is_collected_when_it_is_garbage(clocks: Clocks) -> None:
    """Else a process whose connections live for minutes grows for ever (tests/soak)."""
    collector = collector_by(clocks)
    old = litter()
    gc.collect(1)
    clocks.collected.clear()
    old.append(old)  # type: ignore[arg-type]
    before = len(gc.get_objects(2))
    del old
    while 2 not in clocks.collected:
        young = litter()
        clocks.look(collector, after=UNTIL_OLDEST / 10)
        del young
        assert clocks.wall < 2 * UNTIL_OLDEST
    assert clocks.wall >= UNTIL_OLDEST
    assert len(gc.get_objects(2)) < before - WORTH_IT
