"""The knobs that a test or a load run turns while the simulator runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.simulator.answers import HANG, OUTAGES

_LONGEST_WAIT = 3600.0
"""Seconds. A longer wait is surely a slip of the keyboard."""


@dataclass(slots=True)
class Behaviour:
    """How the simulator behaves from now on; ``change`` turns several knobs, or none, at once."""

    answer_delay: float = 0.0
    """Seconds from reading a send to answering it."""
    receipt_delay: float = 0.2
    """Seconds before a message's first receipt, and between one receipt and the next."""
    event_spacing: float = 1.0
    """Seconds between the events of a message, as their receipts date them; 0 makes ties."""
    withheld: float = 30.0
    """Seconds for which a connection that gets no answer is held open."""
    receipts: bool = True
    """Whether receipts are sent at all."""
    down: str | None = None
    """The outage that every send meets (accepting nothing): a row of OUTAGES, or ``hang``."""
    longest_message: int = 160
    """Characters. iovox's words say 159; whether exactly 160 passes is not known."""

    def __post_init__(self) -> None:
        found = _problems(asdict(self))
        if found:
            raise ValueError("; ".join(f"{name}: {problem}" for name, problem in found.items()))

    def change(self, wanted: Mapping[str, Any]) -> dict[str, str]:
        """Apply ``wanted``; or apply nothing, and answer what is wrong with each knob at fault."""
        found = _problems(wanted)
        if not found:
            for name, value in wanted.items():
                setattr(self, name, value)
        return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= _LONGEST_WAIT


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _outage(value: Any) -> bool:
    return value is None or (isinstance(value, str) and (value == HANG or value in OUTAGES))


_Rule = tuple[Callable[[Any], bool], str]
_WAIT: _Rule = (_seconds, f"must be seconds, 0 to {_LONGEST_WAIT:g}")
_RULES: dict[str, _Rule] = {
    "answer_delay": _WAIT,
    "receipt_delay": _WAIT,
    "event_spacing": _WAIT,
    "withheld": _WAIT,
    "receipts": (lambda value: isinstance(value, bool), "must be true or false"),
    "down": (_outage, f"must be null or one of {', '.join((*OUTAGES, HANG))}"),
    "longest_message": (_count, "must be a whole number above 0"),
}


def _problems(wanted: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name, value in wanted.items():
        is_good, demand = _RULES.get(name, (lambda _: False, "is no knob of the simulator"))
        if not is_good(value):
            found[name] = demand
    return found
