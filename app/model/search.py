"""What a list of messages is asked for. Pure values; whoever builds one has checked them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.model.status import FINAL, OWN, Status

LISTED = frozenset(Status) - {Status.UNKNOWN}
"""The statuses that a message can have; UNKNOWN is only of what is known from receipts alone."""
UNDER_WAY = LISTED - FINAL
OURS_ALONE = OWN - {Status.SUBMITTED}
"""The statuses that a message has before iovox has accepted it, or instead."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LATEST = 2**48 - 1
_NOT_AT_ALL = timedelta(0)


@dataclass(frozen=True, slots=True)
class Search:
    """Which messages are wanted; None leaves a thing open. Ranges include their start only.

    ``app`` None is all of them, for whoever may see those. Nothing has a status of an empty set.
    """

    app: str | None = None
    statuses: frozenset[Status] | None = None
    overdue: bool | None = None
    contradictory: bool | None = None
    destination: str | None = None
    origin: str | None = None
    reference: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    status_from: datetime | None = None
    status_to: datetime | None = None

    def narrowed(self) -> Search:
        """The same with what follows from it: only what is under way can be overdue."""
        statuses = LISTED if self.statuses is None else self.statuses & LISTED
        if self.overdue:
            statuses &= UNDER_WAY
        return replace(self, statuses=None if statuses == LISTED else frozenset(statuses))


def smallest_id(moment: datetime, shift: timedelta = _NOT_AT_ALL) -> UUID:
    """What no id that was made at this moment, shifted, or later lies below: ids begin with time.

    Any moment will do: ids know no time before 1970.
    """
    milliseconds = (moment - _EPOCH) // _MILLISECOND + shift // _MILLISECOND
    return UUID(int=min(max(milliseconds, 0), _LATEST) << 80)
