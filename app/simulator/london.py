"""The format of times in iovox's receipts: Europe/London local time to the second, no offset."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

LONDON = ZoneInfo("Europe/London")


def london_text(moment: datetime) -> str:
    """``moment`` in the format of receipts, such as ``2020-05-06 18:37:37``.

    In the repeated hour of October the text is ambiguous, like iovox's. Raises ValueError for a
    naive time.
    """
    if moment.tzinfo is None:
        raise ValueError("moment must be time zone aware")
    return moment.astimezone(LONDON).strftime("%Y-%m-%d %H:%M:%S")
