"""Charts as SVG shapes. Colours are classes: the pages' policy allows no inline styles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, LEFT, FOOT = 960.0, 240.0, 64.0, 30.0
_TOPS = (12, 16, 20, 30, 40, 50, 60, 80, 100)
KINDS = ("delivered", "waiting", "odd", "failed")
"""The parts of a bar, from the bottom up."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One span of time: how many of each of KINDS."""

    label: str
    counts: Sequence[int]

    @property
    def total(self) -> int:
        """Of all kinds."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class Rect:
    """A shape of the chart."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    """A line across, and what it stands for."""

    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A label below. ``minor``: every second one, for which a narrow screen has no room."""

    x: float
    label: str
    minor: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything that is drawn."""

    rects: Sequence[Rect]
    lines: Sequence[Line]
    ticks: Sequence[Tick]


def stacked(bars: Sequence[Bar]) -> Chart:
    """Bars over time. There are at most eight labels."""
    top = _round_up(max((bar.total for bar in bars), default=0))
    room = HEIGHT - FOOT - 8
    slot = (WIDTH - LEFT) / max(1, len(bars))
    rects, ticks = [], []
    every = max(1, -(-len(bars) // 8))
    for place, bar in enumerate(bars):
        x = LEFT + place * slot
        ground = HEIGHT - FOOT
        for kind, count in zip(KINDS, bar.counts, strict=True):
            height = room * count / top
            if count:
                ground -= height
                rects.append(
                    Rect(
                        kind,
                        _short(x + slot * 0.12),
                        _short(ground),
                        _short(slot * 0.76),
                        _short(height),
                    )
                )
        if place % every == 0:
            ticks.append(Tick(_short(x + slot / 2), bar.label, place // every % 2 == 1))
    lines = [
        Line(_short(HEIGHT - FOOT - room * part / 2), f"{top * part // 2:,}") for part in (0, 1, 2)
    ]
    return Chart(rects, lines, ticks)


def _round_up(most: int) -> int:
    """The next even number that reads well: 2, 4, ..., 10, 12, 16, 20, 30, ..., 100, 120, ..."""
    if most <= 10:
        return max(2, most + most % 2)
    size = 1
    while True:
        for top in _TOPS:
            if most <= top * size:
                return top * size
        size *= 10


def _short(number: float) -> float:
    return round(number, 2)
