"""Compares facts with the rows that they were made from. Pure.

The facts are as they were appended; the rows are untrusted: anybody may have written them since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from app.model.receipt import Arrival, Receipt, interpret
from app.model.status import Status, status_key, weight_of
from app.record.evidence.form import COMMITTED, DELETED_SALT, SALT_SIZE, Json, commitment, time_text
from app.record.evidence.values import Values, key_of, values_of, values_of_entry
from app.store.evidence.rows import DeliveryRow, EntryRow, FactRow, MessageRow, StoredReceipt

_OF_RECEIPT = ("sms_activity_id", "status", "time_quality")
_OF_BODY = ("delivery_status", "status_reason", "receipt_timestamp", "digest")
_OF_MESSAGE = ("app", "origin", "expiry")
_OF_ENTRY = ("action", "app", "what")
_STEPS = (Status.REJECTED, Status.CANCELLED, Status.UNSENT, Status.UNCONFIRMED)
"""The states of a message that are always its last step's status."""
_WITHOUT_RECEIPTS = (Status.SUBMITTED, Status.UNKNOWN)
"""The statuses of a delivery that has no receipt of a known status."""


class Removals:
    """The erasures and purges that facts record: what they removed is no finding."""

    def __init__(self) -> None:
        self._erased: set[str] = set()
        self._purged: set[str] = set()
        self._without_text: set[str] = set()
        self._owners: dict[str, str] = {}

    def learn(self, fact: Json) -> None:
        """Learn from a fact of any type."""
        kind = fact.get("type")
        if kind == "erased":
            self._erased |= set(ids_in(fact))
        elif kind == "purged":
            self._purged |= set(ids_in(fact))
        elif kind == "texts_purged":
            self._without_text |= set(ids_in(fact))
        elif kind == "attached":
            self._owners[str(fact.get("sms_activity_id"))] = str(fact.get("message"))

    def is_purged(self, *names: object) -> bool:
        """Whether a fact says that a row with one of these ids was purged."""
        return any(str(name) in self._purged for name in names if name is not None)

    def has_removed(self, fact: Json, name: str) -> bool:
        """Whether a fact says that the value of the commitment ``name`` of ``fact`` was erased or
        purged.
        """
        ids = set(ids_in(fact))
        ids |= {self._owners[each] for each in ids if each in self._owners}
        if name == "text" and not ids.isdisjoint(self._without_text):
            return True
        return not (ids.isdisjoint(self._erased) and ids.isdisjoint(self._purged))


class Comparison:
    """Names what differs between rows and facts, and counts the values that were removed."""

    def __init__(self, removals: Removals) -> None:
        self._removals = removals
        self.removed = 0

    def with_receipt(self, row: FactRow, fact: Json, receipt: StoredReceipt) -> list[str]:
        """Compare a fact `receipt`, and the columns that were read from the receipt's body."""
        changed = [name for name in _OF_RECEIPT if getattr(receipt, name) != fact.get(name)]
        read = interpret(Arrival(receipt.id, receipt.received_at, receipt.body or b""))
        if isinstance(read, Receipt):
            changed += [n for n in _OF_BODY if getattr(receipt, n) != getattr(read.content, n)]
        if receipt.status_key != status_key(weight_of(receipt.status), receipt.at):
            changed.append("status_key")
        if time_text(receipt.at) != fact.get("at"):
            changed.append("at")
        # A repetition that arrived earlier, but waited in a spool, makes received_at earlier.
        if time_text(receipt.received_at) > str(fact.get("received_at")):
            changed.append("received_at")
        return changed + self._values(row, fact, {(str(receipt.id), "body"): receipt.body})

    def with_message(self, row: FactRow, fact: Json, message: MessageRow) -> list[str]:
        """Compare a fact `recorded`, `step` or `attached`."""
        changed = self._values(row, fact, values_of(message))
        kind = fact["type"]
        if kind == "recorded":
            changed += self._record(fact, message)
        elif kind == "step":
            steps = [(status, time_text(at)) for status, at, _ in message.steps]
            if (fact.get("status"), fact.get("at")) not in steps:
                changed.append(f"its step {fact.get('status')} is gone")
        else:
            if message.sms_activity_id != fact.get("sms_activity_id"):
                changed.append("sms_activity_id")
            at = message.submitted_at and time_text(message.submitted_at)
            if at != fact.get("at"):
                changed.append("submitted_at")
        return changed

    def with_entry(self, row: FactRow, fact: Json, entry: EntryRow) -> list[str]:
        """Compare a fact `audited`. An entry's ``times`` may have grown since."""
        changed = [name for name in _OF_ENTRY if getattr(entry, name) != fact.get(name)]
        if time_text(entry.at) != fact.get("at"):
            changed.append("at")
        times = fact.get("times")
        if not isinstance(times, int) or entry.times < times:
            changed.append("times")
        return changed + self._values(row, fact, values_of_entry(entry))

    def _record(self, fact: Json, message: MessageRow) -> list[str]:
        changed = [name for name in _OF_MESSAGE if getattr(message, name) != fact.get(name)]
        if time_text(message.created_at) != fact.get("at"):
            changed.append("created_at")
        if (message.send_at and time_text(message.send_at)) != fact.get("send_at"):
            changed.append("send_at")
        resent = message.resend_of and str(message.resend_of)
        if resent != fact.get("resend_of") and not self._removals.is_purged(fact.get("resend_of")):
            changed.append("resend_of")
        last = message.steps[-1][0] if message.steps else None
        is_bound = message.sms_activity_id is not None
        if is_bound != (message.state == Status.SUBMITTED) or (
            message.state in _STEPS and message.state != last
        ):
            changed.append("state")
        return changed

    def _values(self, row: FactRow, fact: Json, values: Values) -> list[str]:
        """The names of the commitments that are not to the value that the row has."""
        changed = []
        for place, name in enumerate(COMMITTED.get(fact["type"], ())):
            committed = fact.get(name)
            value = values.get((key_of(fact), name))
            salt = row.salts[place * SALT_SIZE : (place + 1) * SALT_SIZE]
            is_gone = not value or salt in (b"", DELETED_SALT)
            if committed is None:
                if value:
                    changed.append(name)
            elif is_gone and self._removals.has_removed(fact, name):
                self.removed += 1
            elif is_gone or commitment(salt, value or b"") != committed:
                changed.append(name)
        return changed


def compare_delivery(delivery: DeliveryRow, receipts: Sequence[tuple[str, Any]]) -> list[str]:
    """The columns of a delivery that do not follow from its receipts (status, time) and message."""
    keys = [(status_key(weight_of(status), at), status, at) for status, at in receipts]
    key, status, at = max(keys, default=(0, "", None))
    seen = 0
    for each, _at in receipts:
        seen |= weight_of(each).flag
    changed = []
    if delivery.status not in _WITHOUT_RECEIPTS if key == 0 else delivery.status != status:
        changed.append("status")
    if key != delivery.status_key:
        changed.append("status_key")
    if key and delivery.status_at != at:
        changed.append("status_at")
    if delivery.seen != seen:
        changed.append("seen")
    if delivery.message_id is not None and (
        delivery.bound_to != delivery.sms_activity_id or delivery.app != delivery.app_of_message
    ):
        changed.append("message_id")
    return changed


def ids_in(fact: Json) -> Iterator[str]:
    """The ids of messages, sms_activity_ids and audit entries that a fact names."""
    for name in ("message", "sms_activity_id", "entry"):
        if fact.get(name) is not None:
            yield str(fact[name])
    for name in ("messages", "sms_activity_ids", "entries"):
        yield from map(str, fact.get(name) or ())
