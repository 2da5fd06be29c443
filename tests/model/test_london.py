"""London time against an oracle without a zone database: the legal rule, and arithmetic."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model.london import (
    CLOCK_SKEW,
    LONDON,
    TimeQuality,
    _load_london,
    end_of,
    midnight,
    offsets,
    parse_local_time,
    to_utc,
)

YEARS = range(1996, 2038)
SECOND = timedelta(seconds=1)
START = datetime(1996, 1, 1, tzinfo=UTC).replace(tzinfo=None)
HOUR = timedelta(hours=1)
LATER = datetime(2100, 1, 1, tzinfo=UTC)
wall_times = st.integers(0, 42 * 365 * 86_400).map(lambda second: START + second * SECOND)


def test_the_rules_are_those_of_the_package_wherever_it_runs() -> None:
    read = _load_london()
    assert (str(read), str(LONDON)) == ("Europe/London", "Europe/London")
    assert read.utcoffset(datetime(2026, 7, 1, tzinfo=UTC).replace(tzinfo=None)) == HOUR


def last_sunday(year: int, month: int) -> date:
    day = date(year, month, 31)
    return day - timedelta(days=(day.weekday() + 1) % 7)


def edge(year: int, month: int) -> datetime:
    """When the clocks change: at 01:00 UTC on the last Sunday of March and October."""
    day = last_sunday(year, month)
    return datetime(day.year, day.month, day.day, 1, tzinfo=UTC)


def on_the_clock(utc: datetime) -> datetime:
    """What a clock in London shows, as a naive time."""
    summer = edge(utc.year, 3) <= utc < edge(utc.year, 10)
    return (utc + HOUR if summer else utc).replace(tzinfo=None)


def instants(wall: datetime) -> list[datetime]:
    """Every instant at which London's clocks show this, earliest first: none, one or two."""
    candidates = (wall.replace(tzinfo=UTC) - HOUR, wall.replace(tzinfo=UTC))
    return [utc for utc in candidates if on_the_clock(utc) == wall]


def text(wall: datetime) -> str:
    return wall.strftime("%Y-%m-%d %H:%M:%S")


def check(wall: datetime) -> None:
    found = instants(wall)
    reading = parse_local_time(text(wall))
    assert reading is not None
    if not found:
        # Read with the offset before the change, which is GMT.
        gmt = wall.replace(tzinfo=UTC)
        assert reading == (TimeQuality.MISSING, gmt, gmt)
    elif len(found) == 1:
        assert reading == (TimeQuality.EXACT, found[0], found[0])
    else:
        assert reading == (TimeQuality.REPEATED, *found)


def seconds_at(wall: datetime) -> Iterator[datetime]:
    yield from (wall - SECOND, wall, wall + SECOND)


@pytest.mark.parametrize("year", YEARS)
def test_the_odd_hours_begin_and_end_to_the_second(year: int) -> None:
    for month in (3, 10):
        odd_hour = edge(year, month).replace(tzinfo=None)  # 01:00 to 02:00 on the clock, both times
        for wall in (odd_hour - HOUR, odd_hour, odd_hour + HOUR / 2, odd_hour + HOUR):
            for moment in seconds_at(wall):
                check(moment)
    assert parse_local_time(text(edge(year, 3).replace(tzinfo=None))).quality == "missing"  # type: ignore[union-attr]
    assert parse_local_time(text(edge(year, 10).replace(tzinfo=None))).quality == "repeated"  # type: ignore[union-attr]


@pytest.mark.parametrize("year", [1996, 2020, 2037])
def test_every_second_of_the_odd_hours(year: int) -> None:
    for month in (3, 10):
        start = edge(year, month).replace(tzinfo=None) - timedelta(seconds=5)
        for second in range(3610):
            check(start + second * SECOND)


@given(wall_times)
def test_any_second_of_those_years(moment: datetime) -> None:
    check(moment)


@given(wall_times)
def test_a_receipt_that_comes_at_once_is_read_as_the_instant_it_was_written(
    moment: datetime,
) -> None:
    utc = moment.replace(tzinfo=UTC)
    assert to_utc(text(on_the_clock(utc)), utc)[0] == utc


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("into_the_hour", [timedelta(0), HOUR / 2, HOUR - SECOND], ids=str)
def test_which_reading_of_the_repeated_hour(year: int, into_the_hour: timedelta) -> None:
    later = edge(year, 10) + into_the_hour
    earlier = later - HOUR
    written = text(later.replace(tzinfo=None))
    story = {
        "long after both": (later + timedelta(days=30), later),
        "at the later": (later, later),
        "the later, on a clock 30 s ahead of ours": (later - CLOCK_SKEW, later),
        "a microsecond more than that": (
            later - CLOCK_SKEW - timedelta(microseconds=1),
            earlier,
        ),
        "between the two": (later - HOUR / 2, earlier),
        "at the earlier": (earlier, earlier),
        "the earlier, on a clock 30 s ahead of ours": (earlier - CLOCK_SKEW, earlier),
    }
    for label, (received_at, expected) in story.items():
        assert to_utc(written, received_at) == (expected, "repeated"), label
    for before in (earlier - CLOCK_SKEW - timedelta(microseconds=1), earlier - timedelta(days=1)):
        assert to_utc(written, before) == (before, "ahead")


def test_the_missing_hour_is_read_as_gmt_whenever_it_came() -> None:
    gmt = datetime(2021, 3, 28, 1, 30, tzinfo=UTC)
    for received_at in (gmt - CLOCK_SKEW, gmt, LATER):
        assert to_utc("2021-03-28 01:30:00", received_at) == (gmt, "missing")


WHOLE_HOURS_OFF = [timedelta(hours=hours) for hours in (-24, -2, -1, 0, 1, 2, 24)]


@given(
    st.sampled_from(YEARS),
    st.sampled_from([3, 10]),
    st.timedeltas(timedelta(hours=-4), timedelta(hours=4)),
    st.sampled_from(WHOLE_HOURS_OFF) | st.timedeltas(timedelta(days=-900), timedelta(days=900)),
    st.timedeltas(timedelta(0), timedelta(minutes=2)),
)
def test_no_reading_around_a_change_is_after_its_arrival(
    year: int, month: int, from_the_change: timedelta, clock_is_off: timedelta, under_way: timedelta
) -> None:
    """The rule in its plainest form: the latest reading that can be, or else the arrival."""
    written_at = edge(year, month) + from_the_change
    received_at = written_at + under_way
    wall = on_the_clock(written_at + clock_is_off).replace(microsecond=0)
    readings = instants(wall) or [wall.replace(tzinfo=UTC)]
    quality = ("exact", "repeated")[len(readings) - 1] if instants(wall) else "missing"
    possible = [reading for reading in readings if reading <= received_at + CLOCK_SKEW]
    expected = (max(possible), quality) if possible else (received_at, "ahead")
    assert to_utc(text(wall), received_at) == expected


@pytest.mark.parametrize("suffix", ["", "Z", "+01:00", " GMT", " BST", "-05:00"])
@pytest.mark.parametrize(
    "stamp", ["2099-01-01 00:00:00", "2030-10-27 01:30:00", "9999-12-31 23:59:59"]
)
def test_ahead_is_judged_last(stamp: str, suffix: str) -> None:
    received_at = datetime(2026, 11, 28, 12, tzinfo=UTC)
    at, quality = to_utc(stamp + suffix, received_at)
    assert at == received_at
    assert quality == ("received" if "9999" in stamp and suffix == "-05:00" else "ahead")


@pytest.mark.parametrize(("seconds", "quality"), [(-86_400, "exact"), (30, "exact"), (31, "ahead")])
def test_thirty_seconds_are_allowed_for_clocks(seconds: int, quality: str) -> None:
    received_at = datetime(2026, 11, 28, 12, tzinfo=UTC)
    stamp = received_at + timedelta(seconds=seconds)
    expected = received_at if quality == "ahead" else stamp
    assert to_utc(text(on_the_clock(stamp)), received_at) == (expected, quality)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


READABLE = [
    ("the example's first", "2020-05-06 18:37:37", "exact", utc(2020, 5, 6, 17, 37, 37)),
    ("the example's second", "2020-05-06 18:37:46", "exact", utc(2020, 5, 6, 17, 37, 46)),
    ("in winter", "2020-12-06 18:37:37", "exact", utc(2020, 12, 6, 18, 37, 37)),
    ("a T", "2020-12-06T18:37:37", "exact", utc(2020, 12, 6, 18, 37, 37)),
    ("a small t", "2020-12-06t18:37:37", "exact", utc(2020, 12, 6, 18, 37, 37)),
    ("space around", "  2020-12-06 18:37:37\n", "exact", utc(2020, 12, 6, 18, 37, 37)),
    ("a fraction", "2020-12-06 18:37:37.5", "exact", utc(2020, 12, 6, 18, 37, 37, 500_000)),
    ("a long one", "2020-12-06 18:37:37.1234567891", "exact", utc(2020, 12, 6, 18, 37, 37, 123456)),
    ("leap day", "2020-02-29 00:00:00", "exact", utc(2020, 2, 29)),
    ("the year 1", "0001-06-01 00:00:00", "exact", utc(1, 6, 1, 0, 1, 15)),
    ("GMT in summer", "2020-05-06 18:37:37 GMT", "offset", utc(2020, 5, 6, 18, 37, 37)),
    ("UTC", "2020-05-06T18:37:37UTC", "offset", utc(2020, 5, 6, 18, 37, 37)),
    ("BST", "2020-05-06 18:37:37 BST", "offset", utc(2020, 5, 6, 17, 37, 37)),
    ("BST in winter", "2020-01-01 00:00:00 bst", "offset", utc(2019, 12, 31, 23)),
    ("BST in the repeated hour", "2020-10-25 01:30:00 BST", "offset", utc(2020, 10, 25, 0, 30)),
    ("all year summer time", "1970-01-01 12:00:00", "exact", utc(1970, 1, 1, 11)),
    ("a Z", "2020-05-06 18:37:37Z", "offset", utc(2020, 5, 6, 18, 37, 37)),
    ("a z", "2020-05-06T18:37:37z", "offset", utc(2020, 5, 6, 18, 37, 37)),
    ("an offset", "2020-05-06T18:37:37+01:00", "offset", utc(2020, 5, 6, 17, 37, 37)),
    ("without a colon", "2020-05-06 18:37:37+0100", "offset", utc(2020, 5, 6, 17, 37, 37)),
    ("hours only, apart", "2020-05-06 18:37:37 +01", "offset", utc(2020, 5, 6, 17, 37, 37)),
    ("to the west", "2020-05-06 18:37:37-05:30", "offset", utc(2020, 5, 7, 0, 7, 37)),
    ("in the repeated hour", "2020-10-25T01:30:00+00:00", "offset", utc(2020, 10, 25, 1, 30)),
    ("in the missing hour", "2020-03-29T01:30:00+01:00", "offset", utc(2020, 3, 29, 0, 30)),
]


@pytest.mark.parametrize(
    ("written", "quality", "expected"), [pytest.param(*row[1:], id=row[0]) for row in READABLE]
)
def test_readable(written: str, quality: str, expected: datetime) -> None:
    assert to_utc(written, LATER) == (expected, quality)


UNREADABLE = [
    ("absent", None),
    ("empty", ""),
    ("words", "yesterday"),
    ("seconds since 1970", "1588786657"),
    ("30 February", "2020-02-30 00:00:00"),
    ("29 February of no leap year", "2021-02-29 00:00:00"),
    ("month 13", "2020-13-01 00:00:00"),
    ("month 0", "2020-00-01 00:00:00"),
    ("24 o'clock", "2020-01-01 24:00:00"),
    ("a leap second", "2016-12-31 23:59:60"),
    ("the year 0", "0000-01-01 00:00:00"),
    ("no seconds", "2020-01-01 10:00"),
    ("no time", "2020-01-01"),
    ("short numbers", "2020-1-1 1:1:1"),
    ("the British order", "06/05/2020 18:37:37"),
    ("other digits", "\uff12\uff10\uff12\uff10-05-06 18:37:37"),
    ("an offset of a day", "2020-01-01 00:00:00+24:00"),
    ("an offset of 60 minutes", "2020-01-01 00:00:00+01:60"),
    ("another zone by name", "2020-01-01 00:00:00 CET"),
    ("a zone and an offset", "2020-01-01 00:00:00 UTC+1"),
    ("before the year 1 in UTC", "0001-01-01 00:00:00+01:00"),
    ("after 9999 in UTC", "9999-12-31 23:59:59-01:00"),
    ("two times", "2020-01-01 00:00:00 2020-01-01 00:00:00"),
    ("NUL", "2020-01-01 00:00:00\x00"),
    ("lone surrogate", "2020-01-01 00:00:00\ud800"),
    ("long", "2020-01-01 00:00:00" * 1000),
]


@pytest.mark.parametrize("written", [pytest.param(row[1], id=row[0]) for row in UNREADABLE])
def test_what_cannot_be_read_is_the_time_it_came(written: str | None) -> None:
    assert to_utc(written, LATER) == (LATER, "received")


@given(st.text(), st.datetimes(timezones=st.just(UTC)))
def test_no_text_raises(written: str, received_at: datetime) -> None:
    at, quality = to_utc(written, received_at)
    assert at.tzinfo is UTC
    assert quality in set(TimeQuality)


@given(
    st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}", fullmatch=True),
    st.sampled_from(["", "Z", "+01:00", "-2359", "+99:99", ".999999999", "+14"]),
)
def test_no_text_that_looks_like_a_time_raises(wall: str, suffix: str) -> None:
    at, _ = to_utc(wall + suffix, LATER)
    assert at.utcoffset() == timedelta(0)


def test_the_answer_is_in_utc_whatever_zone_the_receipt_came_in() -> None:
    received_at = datetime.fromisoformat("2020-05-06T20:37:37+02:00")
    at, _ = to_utc(None, received_at)
    assert (at, at.tzinfo) == (received_at, UTC)


def test_a_naive_time_of_receipt_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        to_utc("2020-05-06 18:37:37", LATER.replace(tzinfo=None))


@given(st.dates(date(1996, 1, 2), date(2037, 12, 30)))
def test_a_day_begins_and_ends_at_midnight_on_the_clock(day: date) -> None:
    wall = datetime(day.year, day.month, day.day, tzinfo=UTC).replace(tzinfo=None)
    assert instants(wall) == [midnight(day)]
    assert end_of(day) == midnight(day + timedelta(days=1))


@given(st.sampled_from(YEARS), wall_times, st.timedeltas(SECOND, timedelta(days=31, hours=1)))
def test_the_offsets_of_a_range(year: int, start: datetime, span: timedelta) -> None:
    begin = start.replace(tzinfo=UTC).replace(year=year, day=1)
    found = offsets(begin, begin + span)
    for month in (3, 10):
        if begin < edge(year, month) < begin + span:
            assert found.change == edge(year, month)
    for part in range(8):
        moment = begin + span * part / 8
        offset = found.before if moment < found.change else found.after
        assert (moment + offset).replace(tzinfo=None) == on_the_clock(moment)


@pytest.mark.parametrize("year", [1996, 2020, 2037])
@pytest.mark.parametrize(("month", "before", "after"), [(3, 0, 1), (10, 1, 0)])
def test_the_offsets_of_a_range_with_a_change(
    year: int, month: int, before: int, after: int
) -> None:
    start = datetime(year, month, 1, 0, 0, 7, tzinfo=UTC)
    found = offsets(start, start + timedelta(days=31))
    assert found == (edge(year, month), before * HOUR, after * HOUR)


def test_the_offsets_of_a_range_that_ends_or_begins_with_the_change() -> None:
    change = edge(2026, 10)
    assert offsets(change - HOUR, change) == (change, HOUR, timedelta(0))
    assert offsets(change, change + HOUR)[1:] == (timedelta(0), timedelta(0))


@pytest.mark.parametrize(
    ("stamp", "quality"),
    [
        ("2020-05-06 18:37:37+05:59", TimeQuality.OFFSET),
        ("2020-05-06 18:37:37+05:60", TimeQuality.RECEIVED),
    ],
)
def test_an_offset_has_at_most_59_minutes(stamp: str, quality: TimeQuality) -> None:
    assert to_utc(stamp, LATER)[1] is quality


@pytest.mark.parametrize(
    "stamp",
    [
        "2020-05-06 18:37:37",
        "2020-05-06 18:37:37+02:00",
        "2020-10-25 01:30:00",
        "9000-01-01 00:00:00",
    ],
)
def test_every_time_is_in_utc_itself(stamp: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert to_utc(stamp, LATER)[0].tzinfo is UTC
        assert midnight(date(2020, 5, 6)).tzinfo is UTC
    finally:
        monkeypatch.undo()
        time.tzset()
