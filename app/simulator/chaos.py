"""Faults by probability: ``refuse=1%,slow=5%``. Each send draws its own."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

FAULTS = {
    "refuse": "the send is answered 503 and not taken",
    "error": "the send is answered 500 in iovox's XML and not taken",
    "slow": "the answer takes two seconds longer",
    "lost": "the send is taken, and the connection is cut instead of an answer",
    "mute": "no receipt comes",
    "repeat": "each receipt comes three times",
    "reverse": "the receipts come in reverse order",
}
SLOW = 2.0
"""Seconds."""

_SHARE = re.compile(r"(\d{1,3}(?:\.\d+)?)(%?)")


def read_chaos(text: str) -> dict[str, float]:
    """The probability of each fault, from ``refuse=1%,slow=0.05``. Raises ValueError in words."""
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, share = (piece.strip() for piece in part.partition("="))
        match = _SHARE.fullmatch(share)
        if match is None:
            raise ValueError(f"{part[:40]} must be a fault and its probability, as in refuse=1%")
        if name in found:
            raise ValueError(f"{name[:40]} is given twice")
        found[name] = float(match[1]) / (100 if match[2] else 1)
    if error := fault_of(found):
        raise ValueError(error)
    return found


def fault_of(chaos: Any) -> str | None:
    """What is wrong with probabilities by fault; None where nothing is."""
    if not isinstance(chaos, Mapping):
        return "must be probabilities by fault, such as {'refuse': 0.01}"
    for name, share in chaos.items():
        if name not in FAULTS:
            return f"{str(name)[:40]} is none of {', '.join(FAULTS)}"
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            return f"{name} must be 0 to 1, or 0% to 100%"
    return None


def occurs(chaos: Mapping[str, float], fault: str) -> bool:
    """Whether this fault happens now."""
    return random.random() < chaos.get(fault, 0)  # noqa: S311  a test double's dice
