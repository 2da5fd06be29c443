"""Makes facts: the log's entries, each canonical JSON (RFC 8785), chained by message. No I/O.

docs/evidence.md specifies their bytes. The rows that they are made of are trusted.
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

RANDOM_BUFFER = 16 * 1024
"""Random bytes that are read at a time."""
LOG_SUBJECT = b"l"
"""The chain of facts about the log itself: `began` and `rotation`."""
REMOVALS_SUBJECT = b"r"
"""The chain of `purged`, `texts_purged`, and of `erased` without a message."""


@dataclass(slots=True)
class FactWriter:
    """Makes facts that continue ``chains``: the ends of all chains that it is to add to.

    ``log``: as it is before them. ``leaves``: the facts, in the order in which they are to be
    appended.
    """

    log: LogRow
    chains: dict[bytes, Chain | NewFact]
    leaves: list[NewFact] = field(default_factory=list)
    _owners: dict[str, UUID] = field(default_factory=dict)
    _origin: str = field(init=False)  # as JSON
    _buffer: bytes = b""
    _used: int = 0

    def __post_init__(self) -> None:
        self._origin = canonical_text(self.log.origin)

    def is_attached(self, message_id: UUID) -> bool:
        """Whether the message's chain has its fact `attached`."""
        return self._chain(subject_of(message_id)).attached

    def add_message(self, message: MessageRow) -> None:
        """What the message's chain lacks of `recorded`, `step` and `attached`."""
        if message.sms_activity_id is not None:
            self._owners[message.sms_activity_id] = message.id
        subject = subject_of(message.id)
        if not self._chain(subject).number:
            self._add_recorded(subject, message)
        for step in message.steps[self._chain(subject).steps :]:
            self._add_step(subject, message.id, step)
        if message.sms_activity_id is not None and not self._chain(subject).attached:
            self._add_attached(subject, message)

    def add_receipts(self, receipts: Iterable[ReceiptRow]) -> None:
        """A fact `receipt` for each, in this order."""
        for receipt in receipts:
            self._add_receipt(receipt)

    def _add_receipt(self, receipt: ReceiptRow) -> None:
        """On the message's chain if that is attached by now, else on the sms_activity_id's."""
        # The message was read after the receipt, and may have been attached in between.
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
            # Empty where it was erased before its fact was made.
            body=f'"{commitment(salt, receipt.body)}"' if receipt.body else None,
        )
        self._add_leaf(subject, chain, text, salt, chain.steps, chain.attached)

    def add_entry(self, entry: EntryRow) -> None:
        """The fact `audited` of an entry of the audit, unless the log has it."""
        subject = subject_of_entry(entry.id)
        if self._chain(subject).number:
            return
        self._add_fact(
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

    def add_log_fact(self, kind: str, fields: Json) -> None:
        """A fact about the log itself."""
        self._add_fact(LOG_SUBJECT, kind, fields, {})

    def add_removal_fact(self, kind: str, fields: Json) -> None:
        """A fact of an erasure or a purge that is of no single message."""
        self._add_fact(REMOVALS_SUBJECT, kind, fields, {})

    def add_fact(self, subject: bytes, kind: str, fields: Json) -> None:
        """A fact without commitments on the chain of a message, sms_activity_id or audit entry."""
        name = subject_fields(subject)
        self._add_fact(subject, kind, name | fields, {})

    def _add_recorded(self, subject: bytes, message: MessageRow) -> None:
        self._add_fact(
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
                "destination": _bytes(message.destination),  # empty where it was erased already
                "text": _bytes(message.text),
                "reference": _bytes(message.reference),
                "c2c_failover_link_id": _bytes(message.c2c_failover_link_id),
            },
        )

    def _add_step(
        self, subject: bytes, id_: UUID, step: tuple[str, datetime, Sequence[str]]
    ) -> None:
        status, at, reasons = step
        self._add_fact(
            subject,
            "step",
            {"message": str(id_), "status": status, "at": time_text(at)},
            {"reasons": reasons_bytes(reasons)},
            steps=1,
        )

    def _add_attached(self, subject: bytes, message: MessageRow) -> None:
        """`joins` names the last fact of the sms_activity_id's chain: that is the message's now."""
        sms_activity_id = message.sms_activity_id or ""
        before = self._chain(subject_of(sms_activity_id))
        joins = {"number": before.number, "hash": before.hash.hex()} if before.hash else None
        self._add_fact(
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
        """From a buffer: a system call for so few bytes takes longer than the rest of a fact."""
        if self._used + size > len(self._buffer):
            self._buffer, self._used = secrets.token_bytes(max(size, RANDOM_BUFFER)), 0
        self._used += size
        return self._buffer[self._used - size : self._used]

    def _chain(self, subject: bytes) -> Chain | NewFact:
        return self.chains.get(subject, EMPTY)

    def _add_fact(
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
        self._add_leaf(subject, chain, text, salts, steps, attached)

    def _add_leaf(
        self,
        subject: bytes,
        chain: Chain | NewFact,
        text: str,
        salts: bytes,
        steps: int,
        attached: bool,
    ) -> None:
        """Append a fact to its chain and to the leaves."""
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
    """The fields by which facts name their subject."""
    if subject[:1] == b"m":
        return {"message": str(UUID(bytes=subject[1:]))}
    if subject[:1] == b"a":
        return {"entry": str(UUID(bytes=subject[1:]))}
    return {"message": None, "sms_activity_id": subject[1:].decode()}


def _bytes(text: str | None) -> bytes | None:
    return text.encode() if text else None
