"""The table of scenarios: response and receipts by the last two digits of the destination."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from app.simulator.responses import UNAUTHORIZED, Fault


@dataclass(frozen=True, slots=True)
class Event:
    """The event of a receipt: iovox's status, with Kannel's text and number for it."""

    status: str
    delivery_status: str
    status_reason: str


class ResponseOrder(Enum):
    """The order of the response to a send and its receipts."""

    FIRST = "the response, then the receipts"
    LAST = "the receipts are posted, then the response is sent"
    NEVER = "the receipts only: the connection is held, then closed without a response"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table. ``events`` are in chronological order."""

    events: tuple[Event, ...] = ()
    copies: int = 1
    newest_first: bool = False
    response_order: ResponseOrder = ResponseOrder.FIRST
    fails_once: bool = False
    refusal: Fault | None = None


ACKNOWLEDGED = Event("ACKNOWLEDGED", "smsc submit", "8")
BUFFERED = Event("BUFFERED", "message buffered", "4")
DELIVERED = Event("DELIVERED", "delivery success", "1")
FAILED = Event("FAILED", "delivery failure", "2")
# iovox documents no number for EXPIRED. Kannel's mask has none either: it reports a failure.
EXPIRED = Event("EXPIRED", "delivery failure", "2")
SMSC_REJECTED = Event("FAILED", "smsc reject", "16")

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
    "08": Scenario((ACKNOWLEDGED, DELIVERED), response_order=ResponseOrder.LAST),
    "09": Scenario((ACKNOWLEDGED, DELIVERED), fails_once=True),
    "10": Scenario((ACKNOWLEDGED, DELIVERED), response_order=ResponseOrder.NEVER),
    "11": Scenario(refusal=Fault(400, "Destination Invalid: {destination}")),
    "12": Scenario(refusal=UNAUTHORIZED),
    "13": Scenario((SMSC_REJECTED,)),
    "14": Scenario((ACKNOWLEDGED, DELIVERED, FAILED)),
}


def scenario_for(destination: str) -> Scenario:
    """The scenario of a destination; endings that are not in the table are NORMAL."""
    return SCENARIOS.get(destination[-2:], NORMAL)
