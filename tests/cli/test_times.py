"""Times and dates as options have them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import typer

from app.cli.times import since_option, time_option, until_option

SINCE, UNTIL = (make(help="").parser for make in (since_option, until_option))
MOMENT = time_option(help="").parser


@pytest.mark.parametrize(
    ("day", "begins", "ends"),
    [
        ("2026-11-28", datetime(2026, 11, 28, tzinfo=UTC), datetime(2026, 11, 29, tzinfo=UTC)),
        ("2026-07-01", datetime(2026, 6, 30, 23, tzinfo=UTC), datetime(2026, 7, 1, 23, tzinfo=UTC)),
        ("2026-10-25", datetime(2026, 10, 24, 23, tzinfo=UTC), datetime(2026, 10, 26, tzinfo=UTC)),
    ],
)
def test_a_date_is_a_day_in_london(day: str, begins: datetime, ends: datetime) -> None:
    assert (SINCE(day), UNTIL(day)) == (begins, ends)


@pytest.mark.parametrize("read", [SINCE, UNTIL, MOMENT])
def test_a_time_has_its_offset(read: object) -> None:
    assert callable(read)
    assert read("2026-11-22T09:00:00+01:00") == datetime(2026, 11, 22, 8, tzinfo=UTC)
    for text in ("2026-11-22T09:00:00", "soon", "2026-02-30"):
        with pytest.raises(typer.BadParameter, match="offset"):
            read(text)


def test_no_date_says_when_to_send() -> None:
    with pytest.raises(typer.BadParameter, match="offset"):
        MOMENT("2026-11-22")


def test_there_is_no_day_after_the_last() -> None:
    with pytest.raises(typer.BadParameter, match="no time that exists"):
        UNTIL("9999-12-31")
