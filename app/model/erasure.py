"""Erasures: a number as a destination, with its texts, references and receipts' bodies. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

Counts = Mapping[str, int]

KINDS = (
    "messages",
    "cancelled",
    "receipts",
    "webhook_deliveries",
    "rejected_calls",
    "idempotency_keys",
    "audit_entries",
)
"""What is counted."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk that has not confirmed: a process there writes to it, or did."""

    id: UUID
    host: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erasure. ``number`` is known only until it is completed: every disk has confirmed.

    ``digest`` shows later that this number was erased, to whoever has the key.
    """

    id: UUID
    requested_at: datetime
    who: str
    app: str | None
    digest: bytes | None
    number: str | None
    counts: Counts
    erased_at: datetime | None = None
    completed_at: datetime | None = None
    waiting_for: tuple[Disk, ...] = ()

    def __repr__(self) -> str:
        return f"Erasure({self.id})"


def digest_of(number: str, key: bytes) -> bytes:
    """The keyed digest (HMAC-SHA-256) of E.164 digits: without the key nobody can try numbers."""
    return hmac.digest(key, number.encode(), "sha256")
