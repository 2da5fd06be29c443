"""The settings of the simulator that can be changed while it runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from app.simulator.chaos import FAULTS, fault_of
from app.simulator.responses import HANG, OUTAGES

_MAX_SECONDS = 3600.0
"""Seconds; a longer wait is taken for a mistake."""


@dataclass(slots=True)
class Behaviour:
    """The current settings. ``change`` applies several of them atomically."""

    answer_delay: float = 0.0
    """Seconds from reading a send to its response."""
    answer_jitter: float = 0.0
    """Seconds by which a response comes earlier or later than that, at random."""
    receipt_delay: float = 0.2
    """Seconds before a message's first receipt, and between one receipt and the next."""
    event_spacing: float = 1.0
    """Seconds between the timestamps of a message's receipts; 0 makes them equal."""
    withheld: float = 30.0
    """Seconds that a connection without a response is held open."""
    receipts: bool = True
    """Whether receipts are sent at all."""
    down: str | None = None
    """The outage that every send fails with: a key of OUTAGES, or ``hang``."""
    chaos: dict[str, float] = field(default_factory=dict)
    """Probabilities of FAULTS, each by itself."""
    longest_message: int = 160
    """Characters. iovox's error text says 159; whether it accepts 160 is not documented."""

    def __post_init__(self) -> None:
        errors = _errors(asdict(self))
        if errors:
            raise ValueError("; ".join(f"{name}: {error}" for name, error in errors.items()))

    def change(self, wanted: Mapping[str, Any]) -> dict[str, str]:
        """Apply all changes and return {}; or apply none and return the errors by name."""
        errors = _errors(wanted)
        if not errors:
            for name, value in wanted.items():
                setattr(self, name, value)
        return errors

    def time_to_answer(self) -> float:
        """Seconds from reading a send to its response, this time."""
        jitter = random.uniform(-self.answer_jitter, self.answer_jitter)  # noqa: S311  # nosec B311
        return max(0.0, self.answer_delay + jitter)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= _MAX_SECONDS


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _outage(value: Any) -> bool:
    return value is None or (isinstance(value, str) and (value == HANG or value in OUTAGES))


_Rule = tuple[Callable[[Any], bool], str]
_WAIT: _Rule = (_seconds, f"must be seconds, 0 to {_MAX_SECONDS:g}")
_RULES: dict[str, _Rule] = {
    "answer_delay": _WAIT,
    "answer_jitter": _WAIT,
    "receipt_delay": _WAIT,
    "event_spacing": _WAIT,
    "withheld": _WAIT,
    "receipts": (lambda value: isinstance(value, bool), "must be true or false"),
    "down": (_outage, f"must be null or one of {', '.join((*OUTAGES, HANG))}"),
    "chaos": (
        lambda value: fault_of(value) is None,
        f"must be probabilities, 0 to 1, of any of {', '.join(FAULTS)}",
    ),
    "longest_message": (_count, "must be a whole number above 0"),
}


def _errors(wanted: Mapping[str, Any]) -> dict[str, str]:
    errors = {}
    for name, value in wanted.items():
        is_valid, message = _RULES.get(name, (lambda _: False, "is no setting of the simulator"))
        if not is_valid(value):
            errors[name] = message
    return errors
