"""The wall clock that iovox's receipts are written in: Europe/London, to the second, no offset."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

LONDON = ZoneInfo("Europe/London")


def london_text(moment: datetime) -> str:
    """``moment`` as a receipt shows it, such as ``2020-05-06 18:37:37``.

    In the hour that October repeats, both passes are written alike, as iovox's would be.
    """
    if moment.tzinfo is None:
        raise ValueError("A time without a zone names no moment: pass an aware one")
    return moment.astimezone(LONDON).strftime("%Y-%m-%d %H:%M:%S")
