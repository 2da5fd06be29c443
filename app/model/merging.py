"""Merges a fact about a message into what the database has of it. Pure.

Any facts in any order, any number of times, lead to one result: a later lease outranks an earlier
one, and within a lease an outcome outranks "on the wire", which outranks being queued. What iovox
has accepted is not touched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from app.errors import FieldError
from app.model.fact import Ended, OnWire, Recorded
from app.model.message import Message, Step
from app.model.status import Status

_RANKS = {
    Status.SENDING: 1,
    Status.UNCONFIRMED: 2,
    Status.QUEUED: 3,
    Status.CANCELLED: 4,
    Status.UNSENT: 5,
    Status.REJECTED: 6,
}
"""Of our own states, within one lease."""


@dataclass(frozen=True, slots=True)
class Known:
    """A message as the database has it, or is to have it."""

    message: Message
    steps: tuple[Step, ...] = ()
    errors: tuple[FieldError, ...] = ()
    is_accepted: bool = False


def merge_record(there: Known | None, message: Message) -> Known:
    """A whole record: as it was recorded, or while it was on the wire."""
    if message.state is Status.SUBMITTED:  # its acceptance is a fact of its own
        message = replace(message, state=Status.UNCONFIRMED)
    if there is None:
        first = (Step(Status.QUEUED, message.created_at),) if message.announced else ()
        return Known(message, first)
    if there.is_accepted or not _outranks(message.leases, message.state, message.lease, there):
        return there
    announced = message.announced or there.message.announced
    return replace(there, message=replace(message, announced=announced))


def merge_end(there: Known | None, fact: Ended) -> Known | None:
    """How an attempt or a message ended. None: nothing is known of the message."""
    if there is None:
        if fact.message is None:
            return None
        there = merge_record(None, fact.message)
    status = fact.step.status
    if there.is_accepted or not _outranks(fact.leases, status, fact.lease, there):
        return there
    message = replace(
        there.message,
        state=status,
        leases=fact.leases,
        attempts=there.message.attempts + int(fact.attempted),
        announced=there.message.announced or (status is Status.QUEUED),
        lease=None,
        lease_until=None,
        next_attempt_at=fact.next_attempt_at,
    )
    return replace(there, message=message, steps=(*there.steps, fact.step), errors=fact.errors)


def merge(
    there: Known | None, fact: Recorded | OnWire | Ended, which: Message | None
) -> Known | None:
    """Merge what a fact says of one message: of ``which``, where it is about several."""
    if isinstance(fact, Ended):
        return merge_end(there, fact)
    if isinstance(fact, OnWire):
        return merge_record(there, fact.message)
    return merge_record(there, which) if which is not None else there


def forked_lease(
    there: Known | None, fact: Recorded | OnWire | Ended, which: Message | None
) -> UUID | None:
    """The lease of a fact that ``merge`` did not apply, if the message may have been sent under it
    and under another one as well.

    Only the process that has a lease gives it back, and its own journal says so. Where it does not,
    no other lease can have come after this one, unless the database forgot it and an operator let
    the queue go on without that process (``dlr queue release``).
    """
    if isinstance(fact, Ended):
        lease, status = fact.lease, fact.step.status
    else:
        of = fact.message if isinstance(fact, OnWire) else which
        lease, status = (of.lease, of.state) if of is not None else (None, Status.QUEUED)
    if there is None or there.is_accepted or status not in (Status.SENDING, Status.UNCONFIRMED):
        return None
    known = there.message
    is_beside = known.state is Status.QUEUED or (
        known.state is Status.SENDING and known.lease != lease
    )
    return lease if is_beside else None


def _outranks(leases: int, status: Status, lease: object, there: Known) -> bool:
    """Whether a state is later than the one that is there.

    "Surely not sent" undoes only its own lease: another one may have sent it. And what is
    UNCONFIRMED was never sent again: a later lease is of a history that is forgotten.
    """
    known = there.message
    if known.state is Status.UNCONFIRMED:
        return status is Status.REJECTED and leases >= known.leases
    if known.state is Status.SENDING and status is Status.QUEUED:
        return lease is not None and lease == known.lease
    return (leases, _RANKS[status]) > (known.leases, _RANKS[known.state])
