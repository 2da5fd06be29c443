"""The Retry-After header of HTTP responses (RFC 9110, 10.2.3). Generic; its text is untrusted."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_DIGITS = 12
"""Of a number of seconds: more are cut off, as they are beyond any caller's limit already."""


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from now, of a number or a date, and never negative; None for neither."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:MAX_DIGITS])
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:  # "-0000" has no zone; HTTP dates are always GMT
            date = date.replace(tzinfo=UTC)
        return max(0.0, (date - now).total_seconds())
    except (ValueError, OverflowError):
        return None
