"""Lists as files: CSV for spreadsheets, JSON Lines for programs. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

from app.lookup.responses import MessageSummary

CSV, JSON_LINES, JSON = "text/csv", "application/x-ndjson", "application/json"
_MEANT = {
    **{name: (name,) for name in (CSV, JSON_LINES, JSON)},
    "application/jsonl": (JSON_LINES,),
    "application/ndjson": (JSON_LINES,),
    "text/*": (CSV,),
    "application/*": (JSON, JSON_LINES),
    "*/*": (JSON, CSV, JSON_LINES),
}
"""What a name can stand for, best first; the exact names come before the wider ones."""

COLUMNS = (
    "id", "sms_activity_id", "app", "reference", "origin", "destination", "message", "expiry",
    "c2c_failover_link_id", "failover", "status", "status_at", "final", "contradictory", "overdue",
    "created_at", "send_at", "submitted_at", "expires_at", "resend_of", "resent_as", "errors",
)  # fmt: skip

# Spreadsheets take a cell that begins so for a formula, quoted or not, and run what a stranger
# wrote. The wide forms are the same to some of them.
_FORMULAS = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001


def preferred(accept: str | None) -> str:
    """Which of the three an Accept header asks for; JSON where it asks for none of them."""
    asked = list(_asked(accept or ""))
    unwanted = {kind for kind in _MEANT["*/*"] if _weight_of(kind, dict(asked)) == 0}
    best, found = (0.0, False), JSON
    for name, weight in asked:
        kind = next((one for one in _MEANT[name] if one not in unwanted), None)
        rank = weight, not name.endswith("*")
        if kind and weight and rank > best:
            best, found = rank, kind
    return found


def csv_header() -> bytes:
    """The first line of a CSV file."""
    return _csv([COLUMNS])


def csv_lines(messages: Iterable[MessageSummary]) -> bytes:
    """Messages as CSV (RFC 4180), a line each. Text that looks like a formula gets a ' in front."""
    rows = (message.model_dump(mode="json") for message in messages)
    return _csv([_cell(row[column]) for column in COLUMNS] for row in rows)


def json_lines(messages: Iterable[MessageSummary]) -> bytes:
    """Messages as JSON, a line each."""
    return b"".join(message.model_dump_json().encode() + b"\n" for message in messages)


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):  # of a call flow, whose id has a column of its own
        return "called" if value["called"] else "not called"
    if isinstance(value, list):
        return _harmless("; ".join(_item(one) for one in value))
    return _harmless(value) if isinstance(value, str) else str(value)


def _item(value: object) -> str:
    return f"{value['field']}: {value['message']}" if isinstance(value, dict) else str(value)


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _asked(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.split(","):
        name, *options = (piece.strip().lower() for piece in part.split(";"))
        if name in _MEANT:
            yield name, _weight(options)


def _weight_of(kind: str, asked: Mapping[str, float]) -> float | None:
    """What the narrowest name for it says; None where none is asked for."""
    return next((asked[n] for n, kinds in _MEANT.items() if kind in kinds and n in asked), None)


def _weight(options: Sequence[str]) -> float:
    for option in options:
        name, _, value = option.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
