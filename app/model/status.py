"""The statuses of a message, which are final, and their precedence. Pure tables.

Any receipt takes precedence over our own states. Among receipts the one with the greatest (rank,
time, tie) decides, so the result does not depend on their order or repetition. The three are packed
into one integer, ``status_key``, so that SQL needs only to compare numbers.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple


class Status(StrEnum):
    """Every status of a message. A receipt may have others; they do not change the status."""

    QUEUED = "QUEUED"
    SENDING = "SENDING"
    UNCONFIRMED = "UNCONFIRMED"
    SUBMITTED = "SUBMITTED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    UNSENT = "UNSENT"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    BUFFERED = "BUFFERED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    DELIVERED = "DELIVERED"
    UNKNOWN = "UNKNOWN"  # there are receipts, all with statuses that are not in this list


class Weight(NamedTuple):
    """The precedence of a status: ``rank``, time, ``tie``; and its ``flag`` in ``Record.seen``."""

    rank: int
    tie: int
    flag: int


DELIVERED_FLAG, FAILED_FLAG = 1, 2

WEIGHTS = {
    Status.ACKNOWLEDGED: Weight(rank=1, tie=0, flag=0),
    Status.BUFFERED: Weight(rank=1, tie=1, flag=0),
    Status.EXPIRED: Weight(rank=2, tie=0, flag=FAILED_FLAG),
    Status.FAILED: Weight(rank=2, tie=1, flag=FAILED_FLAG),
    # A late FAILED does not undo a delivery to the handset, so DELIVERED ranks above it.
    Status.DELIVERED: Weight(rank=3, tie=0, flag=DELIVERED_FLAG),
}
NO_WEIGHT = Weight(rank=0, tie=0, flag=0)

OWN = frozenset(
    {
        Status.QUEUED,
        Status.SENDING,
        Status.UNCONFIRMED,
        Status.SUBMITTED,
        Status.REJECTED,
        Status.CANCELLED,
        Status.UNSENT,
    }
)
FINAL = frozenset(
    {
        Status.REJECTED,
        Status.CANCELLED,
        Status.UNSENT,
        Status.FAILED,
        Status.EXPIRED,
        Status.DELIVERED,
    }
)

_RANK_STEP = 10**18
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_WEIGHT_BY_NAME = {str(status): weight for status, weight in WEIGHTS.items()}


def weight_of(status: str) -> Weight:
    """The weight of a receipt's status; ``NO_WEIGHT`` for one that is not known."""
    return _WEIGHT_BY_NAME.get(status, NO_WEIGHT)


def status_key(weight: Weight, at: datetime) -> int:
    """(rank, microseconds, tie) as one signed 64-bit integer; 0 for an unknown status.

    Twice the microseconds of the years 1 to 9999 lie between -1.2e17 and 5.1e17, so ranks, 1e18
    apart, never overlap and every known status has a key above 0.
    """
    if weight.rank == 0:
        return 0
    return weight.rank * _RANK_STEP + 2 * microseconds(at) + weight.tie


def microseconds(at: datetime) -> int:
    """Microseconds since 1970, as an integer: a float would lose precision."""
    return (at - _EPOCH) // _MICROSECOND


def is_final(status: str) -> bool:
    """Whether this status is final: no receipt is expected to change it."""
    return status in FINAL


def is_contradictory(seen: int) -> bool:
    """Whether the flags are those of both a delivered and a failed receipt."""
    both = DELIVERED_FLAG | FAILED_FLAG
    return seen & both == both
