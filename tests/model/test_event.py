"""Events: their ids as cursors, their JSON, and the statuses that one can ask for."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model.event import (
    EVENT_STATUSES,
    Cursor,
    Event,
    Reach,
    era_of,
    event_body,
    event_cursor,
    event_id,
    event_json,
    event_number,
    parse_statuses,
    reach,
    rfc3339,
)
from app.model.status import Status

AT = datetime(2020, 5, 6, 17, 37, 37, tzinfo=UTC)
EVENT = Event(
    number=1,
    message_id=UUID(int=2),
    app="billing",
    sms_activity_id="abc",
    reference="order\n42",
    status="DELIVERED",
    at=AT,
    recorded_at=AT + timedelta(milliseconds=1_500),
)
NUMBERS = st.integers(0, 2**48 - 1)


def test_an_id_is_twelve_digits_each_with_its_complement() -> None:
    assert event_id(0) == "0f" * 12
    assert event_id(0x1A) == "0f" * 10 + "1e" + "a5"
    assert EVENT.id == "0f" * 11 + "1e"


@given(NUMBERS)
def test_an_id_can_be_read_again(number: int) -> None:
    assert event_number(event_id(number)) == number


@given(NUMBERS, st.integers(0, 23), st.sampled_from("0123456789abcdefgA \n"))
def test_an_altered_id_is_refused(number: int, place: int, digit: str) -> None:
    written = event_id(number)
    altered = written[:place] + digit + written[place + 1 :]
    if altered != written:
        with pytest.raises(ValueError, match="as this service gave it"):
            event_number(altered)


@given(NUMBERS, st.integers(0, 23))
def test_a_truncated_or_prolonged_id_is_refused(number: int, length: int) -> None:
    for wrong in (event_id(number)[:length], event_id(number) + "0f", event_id(number) + "\n"):
        with pytest.raises(ValueError, match="as this service gave it"):
            event_number(wrong)


def test_the_statuses_that_have_events() -> None:
    assert set(Status) - set(EVENT_STATUSES) == {Status.SENDING, Status.UNKNOWN}


def test_statuses_are_read_in_any_case_and_in_a_fixed_order() -> None:
    read = parse_statuses(["failed, Delivered", "QUEUED"])
    assert read == [status for status in EVENT_STATUSES if status in set(read)]
    assert set(read) == {Status.FAILED, Status.DELIVERED, Status.QUEUED}
    assert parse_statuses([]) == []


def test_an_unknown_status_is_named() -> None:
    with pytest.raises(ValueError, match=r"^'GONE' is none of .*QUEUED, .*DELIVERED"):
        parse_statuses(["DELIVERED,GONE,LOST"])
    with pytest.raises(ValueError, match=f"^'{'X' * 40}' is none of"):
        parse_statuses(["X" * 50])


def test_the_body_of_an_event() -> None:
    body = event_body(EVENT)
    assert body == {
        "id": event_id(1),
        "message_id": "00000000-0000-0000-0000-000000000002",
        "sms_activity_id": "abc",
        "reference": "order\n42",
        "status": "DELIVERED",
        "contradictory": False,
        "at": "2020-05-06T17:37:37Z",
        "recorded_at": "2020-05-06T17:37:38.500000Z",
    }
    assert json.loads(event_json(EVENT)) == body
    assert "\n" not in event_json(EVENT)


@pytest.mark.usefixtures("host_in_new_york")
def test_a_time_in_another_zone_is_told_in_utc() -> None:
    assert rfc3339(AT.astimezone(timezone(timedelta(hours=5)))) == "2020-05-06T17:37:37Z"


def test_a_repr_shows_no_content() -> None:
    assert repr(EVENT) == "Event(1)"


def test_a_cursor_is_written_as_the_id_that_it_was_read_from() -> None:
    assert str(Cursor(1, 3)) == "v" + "0f" * 7 + "3c" + "0f" * 11 + "1e"
    for cursor in (Cursor(7), Cursor(1, 3), Cursor(2**48 - 1, 2**32 - 1)):
        assert str(cursor) == event_id(cursor.number, cursor.era)
        assert event_cursor(str(cursor)) == cursor


def test_an_era_is_the_beginning_of_a_nonce_and_never_none() -> None:
    assert era_of(UUID("0102030405060708090a0b0c0d0e0f10")) == 0x01020304
    assert era_of(UUID(int=5)) == 1


ERAS = [(11, 0), (22, 50), (33, 80)]
"""The database was set back to event 50, and then, in the era 22, to event 80."""


@pytest.mark.parametrize(
    ("cursor", "reaches"),
    [
        pytest.param(Cursor(50), Reach(50), id="from before all eras, and before all setbacks"),
        pytest.param(Cursor(51), Reach(50, is_forgotten=True), id="one event too many"),
        pytest.param(Cursor(51, 11), Reach(50, is_forgotten=True), id="the same, with its era"),
        pytest.param(Cursor(50, 11), Reach(50), id="all that is left of the first era"),
        pytest.param(Cursor(80, 22), Reach(80), id="all that is left of the second"),
        pytest.param(Cursor(81, 22), Reach(80, is_forgotten=True), id="what the second lost"),
        pytest.param(Cursor(10**6, 33), Reach(10**6), id="the era of now"),
        pytest.param(Cursor(40, 99), Reach(40, is_forgotten=True), id="an era that is forgotten"),
        pytest.param(Cursor(60, 99), Reach(50, is_forgotten=True), id="and what it had"),
    ],
)
def test_how_far_a_cursor_reaches(cursor: Cursor, reaches: Reach) -> None:
    assert reach(cursor, ERAS) == reaches


def test_without_setbacks_a_cursor_reaches_as_far_as_it_says() -> None:
    assert reach(Cursor(7), []) == reach(Cursor(7), ERAS[:1]) == Reach(7)
    assert reach(Cursor(7, 99), ERAS[:1]) == Reach(0, is_forgotten=True)
