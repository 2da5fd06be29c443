"""The filters of a list of messages. Pure values; the caller has validated them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.model.status import FINAL, OWN, Status

MESSAGE_STATUSES = frozenset(Status) - {Status.UNKNOWN}
"""The statuses of messages; UNKNOWN occurs only for deliveries without a message."""
NON_FINAL = MESSAGE_STATUSES - FINAL
NOT_ACCEPTED = OWN - {Status.SUBMITTED}
"""The statuses of a message that iovox has not accepted, or not yet."""

LAST_DIGITS = 4
"""Digits at the end of a number by which it is found: as many as an index has."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MAX_MILLISECONDS = 2**48 - 1
_ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class Search:
    """Filters on messages; None is no filter. Ranges include their start and exclude their end.

    ``app`` None means all apps. An empty set of statuses matches nothing. ``destination_ends`` are
    the last LAST_DIGITS or more digits of a number; filters that begin with ``not`` exclude.
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
    destination_ends: str | None = None
    reference_starts: str | None = None
    not_destination_ends: str | None = None
    not_origin: str | None = None
    not_reference_starts: str | None = None

    def normalised(self) -> Search:
        """The same filters with those that they imply: only a non-final message can be overdue."""
        statuses = MESSAGE_STATUSES if self.statuses is None else self.statuses & MESSAGE_STATUSES
        if self.overdue:
            statuses &= NON_FINAL
        return replace(self, statuses=None if statuses == MESSAGE_STATUSES else frozenset(statuses))


def id_lower_bound(moment: datetime, shift: timedelta = _ZERO) -> UUID:
    """The smallest UUID version 7 of the time ``moment + shift``, for ranges by time of creation.

    Clamped to the times that such an id can hold: from 1970, in milliseconds.
    """
    milliseconds = (moment - _EPOCH) // _MILLISECOND + shift // _MILLISECOND
    return UUID(int=min(max(milliseconds, 0), _MAX_MILLISECONDS) << 80)
