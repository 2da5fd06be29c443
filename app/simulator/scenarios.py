"""What becomes of a text, chosen by the last two digits of its destination: one table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from app.simulator.answers import UNAUTHORIZED, Fault


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a receipt reports: iovox's status, Kannel's text and number of it."""

    status: str
    delivery_status: str
    status_reason: str


class Answering(Enum):
    """When the 201 of an accepted text is given, seen from its receipts."""

    FIRST = "the answer, then the receipts"
    LAST = "the receipts are posted and answered, then the answer is given"
    NEVER = "the receipts only: the connection is held, then closed without an answer"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table. ``events`` are in the order in which they happened."""

    events: tuple[Event, ...] = ()
    copies: int = 1
    newest_first: bool = False
    answering: Answering = Answering.FIRST
    fails_once: bool = False
    refusal: Fault | None = None


ACKNOWLEDGED = Event("ACKNOWLEDGED", "smsc submit", "8")
BUFFERED = Event("BUFFERED", "message buffered", "4")
DELIVERED = Event("DELIVERED", "delivery success", "1")
FAILED = Event("FAILED", "delivery failure", "2")
# iovox names EXPIRED without its number. Kannel's mask has none of its own: it reports a failure.
EXPIRED = Event("EXPIRED", "delivery failure", "2")
TURNED_AWAY = Event("FAILED", "smsc reject", "16")

NORMAL = Scenario((ACKNOWLEDGED, DELIVERED))

SCENARIOS = {
    "00": NORMAL,
    "01": Scenario((ACKNOWLEDGED, FAILED)),
    "02": Scenario((ACKNOWLEDGED, BUFFERED, DELIVERED)),
    "03": Scenario((ACKNOWLEDGED, BUFFERED, FAILED)),
    "04": Scenario((ACKNOWLEDGED, EXPIRED)),
    "05": Scenario(),
    "06": Scenario((ACKNOWLEDGED, DELIVERED), copies=3),
    "07": Scenario((ACKNOWLEDGED, DELIVERED), newest_first=True),
    "08": Scenario((ACKNOWLEDGED, DELIVERED), answering=Answering.LAST),
    "09": Scenario((ACKNOWLEDGED, DELIVERED), fails_once=True),
    "10": Scenario((ACKNOWLEDGED, DELIVERED), answering=Answering.NEVER),
    "11": Scenario(refusal=Fault(400, "Destination Invalid: {destination}")),
    "12": Scenario(refusal=UNAUTHORIZED),
    "13": Scenario((TURNED_AWAY,)),
    "14": Scenario((ACKNOWLEDGED, DELIVERED, FAILED)),
}


def scenario_for(destination: str) -> Scenario:
    """The row for this destination; endings that the table does not name are delivered."""
    return SCENARIOS.get(destination[-2:], NORMAL)
