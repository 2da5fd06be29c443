"""The status that receipts add up to, by ``status_key``; the store does it in SQL."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from app.model.status import Status, status_key, weight_of


def status_of(receipts: Iterable[tuple[str, datetime]]) -> Status | None:
    """The status that (status, time) pairs result in; None if all statuses are unknown."""
    best = max(((status_key(weight_of(s), at), s) for s, at in receipts), default=(0, ""))
    return Status(best[1]) if best[0] > 0 else None
