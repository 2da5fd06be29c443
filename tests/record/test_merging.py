"""Facts about a message lead to one result, in whatever order and however often they are merged."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from app.errors import FieldError
from app.model.fact import Ended, OnWire, Recorded
from app.model.merging import Known, forked_lease, merge, merge_end, merge_record
from app.model.message import Message, Request, Step
from app.model.status import Status

NOW = datetime(2026, 5, 6, tzinfo=UTC)
FIRST, SECOND = UUID(int=1), UUID(int=2)
QUEUED = Message(
    UUID(int=9), "billing", Request("44", "45", "text"), NOW, Status.QUEUED, announced=True
)


def on_wire(leases: int, lease: UUID) -> Message:
    return replace(QUEUED, state=Status.SENDING, leases=leases, lease=lease)


def ended(status: Status, leases: int, lease: UUID | None, **more: object) -> Ended:
    step = Step(status, NOW, ("why",))
    return replace(Ended(QUEUED.id, lease, leases, step, announce=True), **more)  # type: ignore[arg-type]


def merged(*facts: Message | Ended) -> Known | None:
    known: Known | None = None
    for fact in facts:
        known = merge_end(known, fact) if isinstance(fact, Ended) else merge_record(known, fact)
    return known


def state(*facts: Message | Ended) -> Status | None:
    known = merged(*facts)
    return None if known is None else known.message.state


HISTORIES: dict[str, tuple[list[Message | Ended], Status]] = {
    "on the wire": ([QUEUED, on_wire(1, FIRST)], Status.SENDING),
    "not sent": (
        [QUEUED, on_wire(1, FIRST), ended(Status.QUEUED, 1, FIRST)],
        Status.QUEUED,
    ),
    "sent at the second attempt, lost": (
        [on_wire(1, FIRST), ended(Status.QUEUED, 1, FIRST), on_wire(2, SECOND)],
        Status.SENDING,
    ),
    "unknown": (
        [on_wire(1, FIRST), ended(Status.UNCONFIRMED, 1, FIRST)],
        Status.UNCONFIRMED,
    ),
    "refused": ([on_wire(1, FIRST), ended(Status.REJECTED, 1, FIRST)], Status.REJECTED),
    "cancelled": (
        [QUEUED, ended(Status.CANCELLED, 0, None, message=QUEUED, attempted=False)],
        Status.CANCELLED,
    ),
}


@pytest.mark.parametrize("story", HISTORIES)
def test_a_history_ends_where_it_ended(story: str) -> None:
    facts, end = HISTORIES[story]
    assert state(*facts) is end
    known = merged(*facts)
    again = known
    for fact in facts:
        again = merge_end(again, fact) if isinstance(fact, Ended) else merge_record(again, fact)
        if story != "not sent":
            assert again is known


@pytest.mark.parametrize("story", [name for name in HISTORIES if name != "not sent"])
def test_the_order_never_makes_it_be_sent_again(story: str) -> None:
    """Facts of several journals come back in any order; QUEUED would be sent."""
    facts, _ = HISTORIES[story]
    for order in itertools.permutations(facts):
        assert state(*order) is not Status.QUEUED, order


def test_not_sent_undoes_its_own_lease_only() -> None:
    assert state(on_wire(1, FIRST), ended(Status.QUEUED, 1, SECOND)) is Status.SENDING
    assert state(on_wire(2, SECOND), ended(Status.QUEUED, 3, FIRST)) is Status.SENDING


def test_what_is_unconfirmed_stays_so_but_for_a_refusal() -> None:
    unknown = ended(Status.UNCONFIRMED, 1, FIRST)
    for later in (
        on_wire(2, SECOND),
        ended(Status.QUEUED, 2, SECOND),
        ended(Status.CANCELLED, 2, None),
    ):
        assert state(on_wire(1, FIRST), unknown, later) is Status.UNCONFIRMED
    refused = ended(Status.REJECTED, 1, FIRST)
    assert state(on_wire(1, FIRST), unknown, refused) is Status.REJECTED


def test_what_iovox_accepted_is_not_touched() -> None:
    known = Known(replace(QUEUED, state=Status.SUBMITTED), is_accepted=True)
    assert merge_record(known, on_wire(9, FIRST)) is known
    assert merge_end(known, ended(Status.UNCONFIRMED, 9, FIRST)) is known


def test_an_end_without_its_record_is_nothing() -> None:
    assert merged(ended(Status.REJECTED, 1, FIRST)) is None


def test_an_end_brings_its_steps_errors_and_counts() -> None:
    fault = FieldError("request", "why")
    refused = ended(Status.REJECTED, 1, FIRST, errors=(fault,))
    known = merged(QUEUED, on_wire(1, FIRST), refused)
    assert known is not None
    assert [step.status for step in known.steps] == [Status.QUEUED, Status.REJECTED]
    assert known.errors == (fault,)
    assert (known.message.attempts, known.message.leases, known.message.lease) == (1, 1, None)


def test_an_acceptance_comes_as_a_fact_of_its_own() -> None:
    assert state(replace(QUEUED, state=Status.SUBMITTED)) is Status.UNCONFIRMED


def test_whether_it_was_announced_is_kept() -> None:
    known = merged(QUEUED, replace(on_wire(1, FIRST), announced=False))
    assert known is not None
    assert known.message.announced


@pytest.mark.parametrize(
    ("there", "fact", "forked"),
    [
        pytest.param(replace(QUEUED, leases=1), OnWire(on_wire(1, FIRST)), FIRST, id="tried since"),
        pytest.param(on_wire(1, SECOND), OnWire(on_wire(1, FIRST)), FIRST, id="being tried"),
        pytest.param(
            replace(QUEUED, leases=1), ended(Status.UNCONFIRMED, 1, FIRST), FIRST, id="unknown"
        ),
        pytest.param(on_wire(1, FIRST), OnWire(on_wire(1, FIRST)), None, id="the same lease"),
        pytest.param(
            replace(QUEUED, leases=1), ended(Status.QUEUED, 1, FIRST), None, id="given back"
        ),
        pytest.param(on_wire(1, SECOND), ended(Status.REJECTED, 0, FIRST), None, id="refused"),
        pytest.param(
            replace(QUEUED, state=Status.UNCONFIRMED, leases=1),
            OnWire(on_wire(1, FIRST)),
            None,
            id="it is never sent again anyhow",
        ),
    ],
)
def test_a_lease_that_may_have_been_sent_beside_another(
    there: Message, fact: OnWire | Ended, forked: UUID | None
) -> None:
    assert forked_lease(Known(there), fact, None) == forked
    assert forked_lease(Known(there, is_accepted=True), fact, None) is None
    assert forked_lease(None, fact, None) is None


def test_a_record_of_what_was_sent_at_once_is_of_a_lease_too() -> None:
    sent = on_wire(1, FIRST)
    tried = Known(replace(QUEUED, leases=1))
    assert forked_lease(tried, Recorded((sent,)), sent) == FIRST
    assert forked_lease(tried, Recorded((QUEUED,)), QUEUED) is None
    assert forked_lease(tried, Recorded(()), None) is None


def test_each_kind_of_fact_is_merged_by_its_own_rule() -> None:
    sent = on_wire(1, FIRST)
    known = merge(None, Recorded((QUEUED,)), QUEUED)
    assert known == Known(QUEUED, (Step(Status.QUEUED, NOW),))
    assert merge(known, Recorded(()), None) is known
    accepted = Known(QUEUED, is_accepted=True)
    assert merge(accepted, Recorded((sent,)), sent) is accepted
    assert merge(accepted, OnWire(sent), None) is accepted
    known = merge(known, OnWire(sent), None)
    assert known is not None
    assert known.message == sent
    known = merge(known, ended(Status.REJECTED, 1, FIRST), None)
    assert known is not None
    assert known.message.state is Status.REJECTED


def test_what_is_given_back_is_due_again_and_known_to_be_queued() -> None:
    """A message that was sent at once is announced as queued only by this."""
    at_once = replace(on_wire(1, FIRST), announced=False, lease_until=NOW)
    assert merged(at_once) == Known(at_once)
    refused = merged(at_once, ended(Status.REJECTED, 1, FIRST))
    assert refused is not None
    assert refused.message.announced is False
    back = merged(at_once, ended(Status.QUEUED, 1, FIRST, next_attempt_at=NOW))
    assert back is not None
    message = back.message
    assert (message.announced, message.next_attempt_at, message.lease_until) == (True, NOW, None)
    whole = merged(ended(Status.UNSENT, 3, None, message=QUEUED))
    assert whole is not None
    assert whole.message.leases == 3
    assert whole.message.announced is True
