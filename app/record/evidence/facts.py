"""Facts: what the log says, each as canonical JSON (RFC 8785), chained by message. Pure.

docs/evidence.md specifies them to the byte. What they are made of is trusted: our own rows.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from app.record.evidence.form import (
    SALT_SIZE,
    VERSION,
    Json,
    canonical,
    canonical_text,
    commitment,
    reasons_bytes,
    receipt_text,
    time_text,
)
from app.record.evidence.merkle import leaf_hash
from app.store.evidence.rows import (
    AUDITED,
    Chain,
    EntryRow,
    LogRow,
    MessageRow,
    NewFact,
    ReceiptRow,
    subject_of,
    subject_of_entry,
)

POOL = 16 * 1024
"""Random bytes that are fetched at a time."""
OF_THE_LOG = b"l"
"""The subject of facts about the log itself: where it began, and who signs."""
OF_REMOVALS = b"r"
"""The subject of facts about more than one history: what was purged, or erased elsewhere."""


@dataclass(slots=True)
class FactWriter:
    """Writes the facts that are missing behind those that the ``chains`` know of.

    ``leaves`` are in the order in which they are to be appended.
    """

    log: LogRow
    chains: dict[bytes, Chain | NewFact]
    leaves: list[NewFact] = field(default_factory=list)
    _owners: dict[str, UUID] = field(default_factory=dict)
    _origin: str = field(init=False)  # as JSON
    _pool: bytes = b""
    _used: int = 0

    def __post_init__(self) -> None:
        self._origin = canonical_text(self.log.origin)

    def is_attached(self, message_id: UUID) -> bool:
        """Whether the log has that a message is attached to iovox's id."""
        return self._chain(subject_of(message_id)).attached

    def message(self, message: MessageRow) -> None:
        """The record of a message, our own steps, and its attachment to iovox's id."""
        if message.sms_activity_id is not None:
            self._owners[message.sms_activity_id] = message.id
        subject = subject_of(message.id)
        if not self._chain(subject).number:
            self._recorded(subject, message)
        for step in message.steps[self._chain(subject).steps :]:
            self._step(subject, message.id, step)
        if message.sms_activity_id is not None and not self._chain(subject).attached:
            self._attached(subject, message)

    def receipts(self, receipts: Iterable[ReceiptRow]) -> None:
        """Receipts, in this order."""
        for receipt in receipts:
            self._receipt(receipt)

    def _receipt(self, receipt: ReceiptRow) -> None:
        """Of the message if that is attached by now, else of the sms_activity_id alone."""
        # The message may have been read after the receipt.
        owner = self._owners.get(receipt.sms_activity_id, receipt.message_id)
        subject = subject_of(receipt.sms_activity_id if owner is None else owner)
        chain = self._chain(subject)
        if owner is not None and not chain.attached:
            owner, subject = None, subject_of(receipt.sms_activity_id)
            chain = self._chain(subject)
        nonce, salt = self._random(SALT_SIZE), self._random(SALT_SIZE)
        text = receipt_text(
            log=self._origin,
            nonce=nonce,
            number=chain.number + 1,
            previous=chain.hash,
            message=owner,
            sms_activity_id=receipt.sms_activity_id,
            receipt=receipt.id,
            received_at=receipt.received_at,
            status=receipt.status,
            at=receipt.at,
            time_quality=receipt.time_quality,
            # Empty where it was dropped before it was ever committed to.
            body=f'"{commitment(salt, receipt.body)}"' if receipt.body else None,
        )
        self._add(subject, chain, text, salt, chain.steps, chain.attached)

    def entry(self, entry: EntryRow) -> None:
        """An entry of the audit, unless the log has it."""
        subject = subject_of_entry(entry.id)
        if self._chain(subject).number:
            return
        self._append(
            subject,
            AUDITED,
            {
                "entry": str(entry.id),
                "at": time_text(entry.at),
                "action": entry.action,
                "app": entry.app,
                "what": entry.what,
                "times": entry.times,
            },
            {
                "who": _bytes(entry.who),
                "address": _bytes(entry.address),
                "destination": _bytes(entry.destination),
                "reference": _bytes(entry.reference),
                "details": _bytes(entry.details),
            },
        )

    def of_log(self, kind: str, fields: Json) -> None:
        """A fact about the log itself."""
        self._append(OF_THE_LOG, kind, fields, {})

    def of_removals(self, kind: str, fields: Json) -> None:
        """A fact about what was taken away from more than one history."""
        self._append(OF_REMOVALS, kind, fields, {})

    def of_message(self, subject: bytes, kind: str, fields: Json) -> None:
        """A further fact of a message or of an sms_activity_id."""
        name = subject_fields(subject)
        self._append(subject, kind, name | fields, {})

    def _recorded(self, subject: bytes, message: MessageRow) -> None:
        self._append(
            subject,
            "recorded",
            {
                "message": str(message.id),
                "app": message.app,
                "at": time_text(message.created_at),
                "origin": message.origin,
                "expiry": message.expiry,
                "send_at": message.send_at and time_text(message.send_at),
                "resend_of": message.resend_of and str(message.resend_of),
            },
            {
                "destination": _bytes(message.destination),  # empty where it was erased before
                "text": _bytes(message.text),
                "reference": _bytes(message.reference),
                "c2c_failover_link_id": _bytes(message.c2c_failover_link_id),
            },
        )

    def _step(self, subject: bytes, id_: UUID, step: tuple[str, datetime, Sequence[str]]) -> None:
        status, at, reasons = step
        self._append(
            subject,
            "step",
            {"message": str(id_), "status": status, "at": time_text(at)},
            {"reasons": reasons_bytes(reasons)},
            steps=1,
        )

    def _attached(self, subject: bytes, message: MessageRow) -> None:
        """Names the facts that are there of the sms_activity_id: they are the message's now."""
        sms_activity_id = message.sms_activity_id or ""
        before = self._chain(subject_of(sms_activity_id))
        joins = {"number": before.number, "hash": before.hash.hex()} if before.hash else None
        self._append(
            subject,
            "attached",
            {
                "message": str(message.id),
                "sms_activity_id": sms_activity_id,
                "at": message.submitted_at and time_text(message.submitted_at),
                "joins": joins,
            },
            {},
            attaches=True,
        )

    def _random(self, size: int) -> bytes:
        """Asking the system for so few bytes takes longer than all the rest of a fact."""
        if self._used + size > len(self._pool):
            self._pool, self._used = secrets.token_bytes(max(size, POOL)), 0
        self._used += size
        return self._pool[self._used - size : self._used]

    def _chain(self, subject: bytes) -> Chain | NewFact:
        return self.chains.get(subject, EMPTY)

    def _append(
        self,
        subject: bytes,
        kind: str,
        fields: Json,
        values: Mapping[str, bytes | None],
        *,
        steps: int = 0,
        attaches: bool = False,
    ) -> None:
        chain = self._chain(subject)
        nonce = self._random(SALT_SIZE)
        salts = self._random(SALT_SIZE * len(values))
        for place, (name, value) in enumerate(values.items()):
            salt = salts[place * SALT_SIZE : (place + 1) * SALT_SIZE]
            fields[name] = None if value is None else commitment(salt, value)
        fields["v"] = VERSION
        fields["type"] = kind
        fields["log"] = self.log.origin
        fields["nonce"] = nonce.hex()
        fields["number"] = chain.number + 1
        fields["previous"] = chain.hash and chain.hash.hex()
        text = canonical(fields)
        steps, attached = chain.steps + steps, chain.attached or attaches
        self._add(subject, chain, text, salts, steps, attached)

    def _add(
        self,
        subject: bytes,
        chain: Chain | NewFact,
        text: str,
        salts: bytes,
        steps: int,
        attached: bool,
    ) -> None:
        """Behind the last fact of its subject, and behind the last leaf."""
        leaf = NewFact(
            self.log.id,
            self.log.size + len(self.leaves),
            subject,
            chain.number + 1,
            leaf_hash(text.encode()),
            text,
            salts,
            steps,
            attached,
        )
        self.chains[subject] = leaf
        self.leaves.append(leaf)


EMPTY = Chain()


def subject_fields(subject: bytes) -> Json:
    """How the facts of a subject name it."""
    if subject[:1] == b"m":
        return {"message": str(UUID(bytes=subject[1:]))}
    if subject[:1] == b"a":
        return {"entry": str(UUID(bytes=subject[1:]))}
    return {"message": None, "sms_activity_id": subject[1:].decode()}


def _bytes(text: str | None) -> bytes | None:
    return text.encode() if text else None
