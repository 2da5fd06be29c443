"""What receipts add up to, in any order: against the rules in words, not against the key."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model.status import (
    FINAL,
    OWN,
    WEIGHTS,
    Status,
    is_contradictory,
    is_final,
    status_key,
    weight_of,
)
from tests.support.statuses import status_of

NOON = datetime(2020, 5, 6, 12, tzinfo=UTC)
EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
KNOWN = ["ACKNOWLEDGED", "BUFFERED", "FAILED", "EXPIRED", "DELIVERED"]

# Few seconds, so that ties are common; and now and then any instant that there is.
times = st.one_of(
    st.integers(0, 3).map(lambda s: NOON + timedelta(seconds=s)),
    st.datetimes(timezones=st.just(UTC)),
)
statuses = st.sampled_from([*KNOWN, "SUBMITTED", "UNKNOWN", "REJECTED", "delivered", "NEVER HEARD"])
receipts = st.lists(st.tuples(statuses, times), max_size=8)


def in_words(of: list[tuple[str, datetime]]) -> str | None:
    """Section 6, read aloud."""
    if any(status == "DELIVERED" for status, _ in of):
        return "DELIVERED"
    for this, wins_a_tie in (("EXPIRED", "FAILED"), ("ACKNOWLEDGED", "BUFFERED")):
        times_of = {
            name: max((at for status, at in of if status == name), default=None)
            for name in (this, wins_a_tie)
        }
        late, early = times_of[wins_a_tie], times_of[this]
        if late is not None and (early is None or late >= early):
            return wins_a_tie
        if early is not None:
            return this
    return None


@given(receipts)
def test_the_status_is_what_the_rules_say(of: list[tuple[str, datetime]]) -> None:
    assert status_of(of) == in_words(of)


@given(receipts, st.randoms(use_true_random=False))
def test_no_order_and_no_repetition_changes_it(
    of: list[tuple[str, datetime]], chance: random.Random
) -> None:
    repeated = [receipt for receipt in of for _ in range(chance.randint(1, 4))]
    chance.shuffle(repeated)
    assert status_of(repeated) == status_of(of)


def test_every_order_of_every_pair_at_the_same_second() -> None:
    for first, second in itertools.product(KNOWN, KNOWN):
        both = [(first, NOON), (second, NOON)]
        assert status_of(both) == status_of(both[::-1]) == in_words(both), both


LADDER = [
    ("ACKNOWLEDGED", "BUFFERED"),
    ("BUFFERED", "EXPIRED"),
    ("EXPIRED", "FAILED"),
    ("FAILED", "DELIVERED"),
]


@pytest.mark.parametrize(("below", "above"), LADDER)
def test_at_the_same_second_the_higher_wins(below: str, above: str) -> None:
    assert status_of([(above, NOON), (below, NOON)]) == above


RANKS = [("BUFFERED", "EXPIRED"), ("ACKNOWLEDGED", "FAILED"), ("FAILED", "DELIVERED")]


@pytest.mark.parametrize(("below", "above"), RANKS)
def test_a_rank_is_above_any_time(below: str, above: str) -> None:
    assert status_of([(below, LATEST), (above, EARLIEST)]) == above


@pytest.mark.parametrize(
    ("winner", "loser"), [*itertools.permutations(["FAILED", "EXPIRED"]),
                          *itertools.permutations(["ACKNOWLEDGED", "BUFFERED"])]
)  # fmt: skip
def test_within_a_rank_the_later_wins_by_a_microsecond(winner: str, loser: str) -> None:
    later = NOON + timedelta(microseconds=1)
    assert status_of([(winner, later), (loser, NOON)]) == winner


@given(st.sampled_from(KNOWN), st.datetimes(timezones=st.just(UTC)))
def test_a_key_fits_a_column_and_is_above_nothing(status: str, at: datetime) -> None:
    assert 0 < status_key(weight_of(status), at) < 2**63


@given(statuses, times, statuses, times)
def test_keys_order_as_rank_then_time_then_tie(
    one: str, one_at: datetime, other: str, other_at: datetime
) -> None:
    first, second = weight_of(one), weight_of(other)
    if first.rank and second.rank:
        by_parts = (first.rank, one_at, first.tie) < (second.rank, other_at, second.tie)
        assert (status_key(first, one_at) < status_key(second, other_at)) is by_parts


@pytest.mark.parametrize("status", ["", "delivered", "SENT", "SUBMITTED", "UNKNOWN", "QUEUED"])
def test_what_is_no_receipts_status_moves_nothing(status: str) -> None:
    assert status_key(weight_of(status), NOON) == 0
    assert status_of([(status, NOON)]) is None


def test_the_tables_cover_every_status() -> None:
    assert set(Status) == OWN | set(WEIGHTS) | {Status.UNKNOWN}
    assert {"REJECTED", "CANCELLED", "UNSENT", "FAILED", "EXPIRED", "DELIVERED"} == FINAL
    assert not any(is_final(status) for status in ("UNKNOWN", "BUFFERED", "SUBMITTED", "odd"))


CONTRADICTORY = [
    ("delivered", ["DELIVERED"], False),
    ("failed", ["FAILED"], False),
    ("failed and expired", ["FAILED", "EXPIRED"], False),
    ("acknowledged, then delivered", ["ACKNOWLEDGED", "DELIVERED"], False),
    ("delivered, then failed", ["DELIVERED", "FAILED"], True),
    ("expired, then delivered", ["EXPIRED", "DELIVERED"], True),
    ("nothing", [], False),
]


@pytest.mark.parametrize(
    ("seen", "expected"), [pytest.param(*row[1:], id=row[0]) for row in CONTRADICTORY]
)
def test_contradictory(seen: list[str], expected: bool) -> None:
    flags = 0
    for status in seen:
        flags |= weight_of(status).flag
    assert is_contradictory(flags) is expected
