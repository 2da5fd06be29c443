"""Times and dates as options have them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
import typer

from app.cli.times import range_option, time_option

END = range_option(help="").parser
MOMENT = time_option(help="").parser


def test_a_date_stays_one_for_the_service_to_read() -> None:
    read = END("2026-11-28")
    assert (type(read), read) == (date, date(2026, 11, 28))


@pytest.mark.parametrize("read", [END, MOMENT])
def test_a_time_has_its_offset(read: object) -> None:
    assert callable(read)
    assert read("2026-11-22T09:00:00+01:00") == datetime(2026, 11, 22, 8, tzinfo=UTC)
    for text in ("2026-11-22T09:00:00", "soon", "2026-02-30"):
        with pytest.raises(typer.BadParameter, match="offset"):
            read(text)


def test_no_date_says_when_to_send() -> None:
    with pytest.raises(typer.BadParameter, match="offset"):
        MOMENT("2026-11-22")
