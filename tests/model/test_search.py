"""The filters of a list: what they imply, and the ids that bound a range of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.model.search import MESSAGE_STATUSES, NON_FINAL, NOT_ACCEPTED, Search, id_lower_bound
from app.model.status import Status

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def test_only_what_is_not_final_is_overdue() -> None:
    assert Search().normalised().statuses is None
    assert Search(overdue=False).normalised().statuses is None
    assert Search(overdue=True).normalised().statuses == NON_FINAL
    both = frozenset({Status.SUBMITTED, Status.DELIVERED, Status.UNKNOWN})
    assert Search(statuses=both).normalised().statuses == both - {Status.UNKNOWN}
    assert Search(statuses=both, overdue=True).normalised().statuses == frozenset(
        {Status.SUBMITTED}
    )
    assert Search(statuses=frozenset()).normalised().statuses == frozenset()
    assert Search(statuses=frozenset(Status)).normalised().statuses is None


def test_the_other_filters_stay() -> None:
    search = Search(app="billing", destination="447723443321", reference="a", overdue=True)
    normalised = search.normalised()
    assert (normalised.app, normalised.destination) == ("billing", "447723443321")
    assert (normalised.reference, normalised.overdue) == ("a", True)


def test_the_sets_of_statuses() -> None:
    assert set(Status) - MESSAGE_STATUSES == {Status.UNKNOWN}
    assert Status.SUBMITTED in NON_FINAL
    assert Status.DELIVERED not in NON_FINAL
    assert Status.SUBMITTED not in NOT_ACCEPTED
    assert Status.QUEUED in NOT_ACCEPTED


def test_the_smallest_id_of_a_millisecond() -> None:
    assert id_lower_bound(EPOCH) == UUID(int=0)
    assert id_lower_bound(EPOCH + MILLISECOND) == UUID("00000000-0001-0000-0000-000000000000")
    assert id_lower_bound(EPOCH + 2.5 * MILLISECOND).int == 2 << 80
    assert id_lower_bound(EPOCH + MILLISECOND, 3 * MILLISECOND).int == 4 << 80
    assert id_lower_bound(EPOCH + 5 * MILLISECOND, -3 * MILLISECOND).int == 2 << 80


def test_an_id_holds_no_time_before_1970_and_none_beyond_48_bits() -> None:
    assert id_lower_bound(EPOCH - MILLISECOND) == UUID(int=0)
    last = datetime.max.replace(tzinfo=UTC)
    assert id_lower_bound(last).int >> 80 == (last - EPOCH) // MILLISECOND
    assert id_lower_bound(last, timedelta(days=365 * 2_000)).int == (2**48 - 1) << 80
