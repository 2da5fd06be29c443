"""Retry-After, as a number of seconds or a date."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.parts.retry_after import retry_after

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        (" 3 ", 3.0),
        ("9" * 6000, 999_999_999_999.0),
        ("Sun, 22 Nov 2026 09:01:00 GMT", 60.0),
        ("Sun, 22 Nov 2026 09:01:00 -0000", 60.0),
        ("Sun, 22 Nov 2026 08:00:00 GMT", 0.0),
        ("Fri, 31 Feb 2027 00:00:00 GMT", None),
        ("-5", None),
        ("1.5", None),
        ("\u0663", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOW) == seconds
