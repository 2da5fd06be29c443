"""What became of a message: the statuses, which are final, and which outranks which. Pure tables.

Our own states say what we did. Any receipt outranks them. Among receipts the one with the greatest
(rank, time, tie) wins, so any order and any repetition of the same receipts gives one answer. The
three are packed into one integer, ``status_key``, that SQL compares without knowing the rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple


class Status(StrEnum):
    """Every status that a message can show. Receipts may carry others; those move nothing."""

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
    UNKNOWN = "UNKNOWN"  # known only from receipts whose statuses we do not know


class Weight(NamedTuple):
    """How a receipt's status counts: ``rank``, then time, then ``tie``; ``flag`` for `seen`."""

    rank: int
    tie: int
    flag: int


DELIVERED_FLAG, FAILED_FLAG = 1, 2

WEIGHTS = {
    Status.ACKNOWLEDGED: Weight(rank=1, tie=0, flag=0),
    Status.BUFFERED: Weight(rank=1, tie=1, flag=0),
    Status.EXPIRED: Weight(rank=2, tie=0, flag=FAILED_FLAG),
    Status.FAILED: Weight(rank=2, tie=1, flag=FAILED_FLAG),
    # A text on the handset is not undone by a late FAILED, so DELIVERED ranks above it.
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
_KNOWN = {str(status): weight for status, weight in WEIGHTS.items()}


def weight_of(status: str) -> Weight:
    """How this status counts; ``NO_WEIGHT`` for one that moves nothing."""
    return _KNOWN.get(status, NO_WEIGHT)


def status_key(weight: Weight, at: datetime) -> int:
    """(rank, microseconds, tie) as one integer that fits a signed 64-bit column; 0 moves nothing.

    Twice the microseconds of the years 1 to 9999 lie between -1.2e17 and 5.1e17, so ranks, 1e18
    apart, never overlap and every known status has a key above 0.
    """
    if weight.rank == 0:
        return 0
    return weight.rank * _RANK_STEP + 2 * microseconds(at) + weight.tie


def microseconds(at: datetime) -> int:
    """Since 1970, in whole numbers: a float would lose the last of them."""
    return (at - _EPOCH) // _MICROSECOND


def is_final(status: str) -> bool:
    """Whether nothing is expected to change this status any more."""
    return status in FINAL


def is_contradictory(seen: int) -> bool:
    """Whether the flags say both that the text arrived and that it did not."""
    both = DELIVERED_FLAG | FAILED_FLAG
    return seen & both == both


def status_of(receipts: Iterable[tuple[str, datetime]]) -> Status | None:
    """The status that (status, time) pairs add up to, or None where none of them moves it.

    The rule in one line; the store keeps the same answer up to date in SQL.
    """
    best = max(((status_key(weight_of(s), at), s) for s, at in receipts), default=(0, ""))
    return Status(best[1]) if best[0] > 0 else None
