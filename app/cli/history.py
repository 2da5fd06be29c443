"""A message's history for people: iovox's London times beside ours in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from app.cli.output import coloured, table
from app.model.london import LONDON
from app.model.verdict import Facts, verdict
from iovox_receipts import Entry, Message

COLUMNS = ("status", "London", "UTC", "source", "detail", "arrived (UTC)")
FIXED = 4
ROOM_FOR_ALL = 100
"""Characters; a narrower terminal goes without the last column."""


def history_table(message: Message, *, width: int) -> Table:
    """Everything that is known to have happened, in order. ``width`` is in characters."""
    shown = len(COLUMNS) if width >= ROOM_FOR_ALL else len(COLUMNS) - 1
    rows = [_row(entry)[:shown] for entry in message.history]
    return table(COLUMNS[:shown], rows, fixed=FIXED)


def headline(message: Message) -> Text:
    """The status in a line, with what is odd about it."""
    words = Text.assemble(coloured(message.status))
    if message.status_at is not None:
        words.append(f" since {utc(message.status_at)} UTC")
    words.append(", final" if message.final else ", not final")
    if message.contradictory:
        words.append(", contradictory: receipts say both that it arrived and that it did not")
    if message.overdue:
        words.append(", overdue")
    return words


def in_words(message: Message, now: datetime) -> str:
    """What became of it for somebody who knows nothing of SMS, and what to do."""
    raw = message.raw
    words = verdict(
        Facts(
            status=message.status,
            status_at=message.status_at,
            submitted_at=_time(raw.get("submitted_at")),
            created_at=_time(raw.get("created_at")),
            send_at=_time(raw.get("send_at")),
            contradictory=bool(message.contradictory),
            overdue=bool(message.overdue),
            reason=raw.get("reason"),
            errors=[str(error["message"]) for error in raw.get("errors") or ()],
        ),
        now=now,
    )
    return f"{words.sign} {words.heading}. {words.means} What to do: {words.to_do}"


def utc(moment: datetime) -> str:
    """A time to the second; ours are finer, iovox's are not."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def london(moment: datetime) -> str:
    """The wall clock in London at that moment."""
    return moment.astimezone(LONDON).strftime("%Y-%m-%d %H:%M:%S")


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _row(entry: Entry) -> tuple[object, ...]:
    """iovox's own text where there is one; the London time of our steps is worked out."""
    wall = entry.receipt_timestamp if entry.source == "iovox" else london(entry.at)
    received = entry.received_at
    return (
        coloured(entry.status),
        wall or "-",
        utc(entry.at) + _doubt(entry),
        entry.source,
        _detail(entry),
        received.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3] if received else "",
    )


def _doubt(entry: Entry) -> str:
    quality = entry.time_quality
    return "" if quality in (None, "exact") else f" ({quality})"


def _detail(entry: Entry) -> str:
    if entry.source != "iovox":
        return "; ".join(entry.reasons)
    words = [entry.delivery_status, entry.status_reason and f"({entry.status_reason})"]
    times = f"×{entry.times_seen}" if (entry.times_seen or 1) > 1 else None  # noqa: RUF001
    return " ".join(word for word in (*words, times) if word)
