"""Exports of lists, as CSV for spreadsheets and JSON Lines for programs. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

from app.lookup.responses import MessageSummary

CSV, JSON_LINES, JSON = "text/csv", "application/x-ndjson", "application/json"
_MEDIA_RANGES = {
    **{name: (name,) for name in (CSV, JSON_LINES, JSON)},
    "application/jsonl": (JSON_LINES,),
    "application/ndjson": (JSON_LINES,),
    "text/*": (CSV,),
    "application/*": (JSON, JSON_LINES),
    "*/*": (JSON, CSV, JSON_LINES),
}
"""The media types that each media range matches, preferred first. Ordered by specificity."""

COLUMNS = (
    "id", "sms_activity_id", "app", "reference", "origin", "destination", "message", "expiry",
    "c2c_failover_link_id", "failover", "status", "status_at", "status_reason", "reason",
    "final", "contradictory", "overdue",
    "created_at", "send_at", "submitted_at", "expires_at", "resend_of", "resent_as", "erased_at",
    "errors", "webhooks",
)  # fmt: skip

# CSV injection: spreadsheets evaluate a cell with such a beginning as a formula, even if it is
# quoted. Some do so for the full-width forms, too.
_FORMULA_PREFIXES = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001


def negotiate(accept: str | None) -> str:
    """Content negotiation (RFC 9110): the type for an Accept header, by default JSON."""
    accepted = list(_parse_accept(accept or ""))
    excluded = {kind for kind in _MEDIA_RANGES["*/*"] if _quality_of(kind, dict(accepted)) == 0}
    best, found = (0.0, False), JSON
    for name, quality in accepted:
        kind = next((one for one in _MEDIA_RANGES[name] if one not in excluded), None)
        rank = quality, not name.endswith("*")
        if kind and quality and rank > best:
            best, found = rank, kind
    return found


def csv_header() -> bytes:
    """The first line of a CSV file."""
    return _csv([COLUMNS])


def csv_lines(messages: Iterable[MessageSummary]) -> bytes:
    """Messages as CSV (RFC 4180), a line each. Formulas are escaped by a leading '."""
    rows = (message.model_dump(mode="json") for message in messages)
    return _csv([_cell(row[column]) for column in COLUMNS] for row in rows)


def json_lines(messages: Iterable[MessageSummary]) -> bytes:
    """Messages as JSON Lines."""
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
    if isinstance(value, dict):  # ``failover``, whose id has a column of its own, or ``webhooks``
        if "called" in value:
            return "called" if value["called"] else "not called"
        return ", ".join(f"{count} {state}" for state, count in value.items() if count)
    if isinstance(value, list):
        return escape_formula("; ".join(_item(one) for one in value))
    return escape_formula(value) if isinstance(value, str) else str(value)


def _item(value: object) -> str:
    return f"{value['field']}: {value['message']}" if isinstance(value, dict) else str(value)


def escape_formula(text: str) -> str:
    """A cell's text, which a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_PREFIXES) else text


def _parse_accept(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.split(","):
        name, *options = (piece.strip().lower() for piece in part.split(";"))
        if name in _MEDIA_RANGES:
            yield name, _quality(options)


def _quality_of(kind: str, accepted: Mapping[str, float]) -> float | None:
    """The quality of the most specific range that matches the type; None if none does."""
    return next(
        (accepted[n] for n, kinds in _MEDIA_RANGES.items() if kind in kinds and n in accepted), None
    )


def _quality(options: Sequence[str]) -> float:
    for option in options:
        name, _, value = option.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
