"""What the commitments of facts stand for, as rows have it. Pure."""

from __future__ import annotations

from typing import Any

from app.record.evidence.form import reasons_bytes, time_text
from app.store.evidence.rows import EntryRow, MessageRow

Values = dict[tuple[str, str], bytes | None]
"""By the key of a fact and the name of the commitment."""


def key_of(fact: dict[str, Any]) -> str:
    """Under what the values of a fact are found."""
    if fact["type"] == "receipt":
        return str(fact["receipt"])
    if fact["type"] == "step":
        return f"{fact['message']} {fact['status']} {fact['at']}"
    if fact["type"] == "audited":
        return str(fact["entry"])
    return str(fact["message"])


def values_of(message: MessageRow) -> Values:
    """Those of a message's facts but its receipts."""
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
    """Those of an entry of the audit."""
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
