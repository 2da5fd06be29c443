"""The values that facts are committed to, as the rows have them now. Pure."""

from __future__ import annotations

from typing import Any

from app.record.evidence.form import reasons_bytes, time_text
from app.store.evidence.rows import EntryRow, MessageRow

Values = dict[tuple[str, str], bytes | None]
"""By the key of a fact (``key_of``) and the name of the commitment."""


def key_of(fact: dict[str, Any]) -> str:
    """The key of a fact in ``Values``: what identifies the row that it was made from."""
    if fact["type"] == "receipt":
        return str(fact["receipt"])
    if fact["type"] == "step":
        return f"{fact['message']} {fact['status']} {fact['at']}"
    if fact["type"] == "audited":
        return str(fact["entry"])
    return str(fact["message"])


def values_of(message: MessageRow) -> Values:
    """The values of a message's facts `recorded` and `step`."""
    id_ = str(message.id)
    values: Values = {
        (id_, name): None if text is None else text.encode()
        for name, text in (
            ("destination", message.destination),
            ("text", message.text),
            ("reference", message.reference),
            ("c2c_failover_link_id", message.c2c_failover_link_id),
        )
    }
    for status, at, reasons in message.steps:
        values[f"{id_} {status} {time_text(at)}", "reasons"] = reasons_bytes(reasons)
    return values


def values_of_entry(entry: EntryRow) -> Values:
    """The values of the fact `audited` of an audit entry."""
    return {
        (str(entry.id), name): None if text is None else text.encode()
        for name, text in (
            ("who", entry.who),
            ("address", entry.address),
            ("destination", entry.destination),
            ("reference", entry.reference),
            ("details", entry.details),
        )
    }
