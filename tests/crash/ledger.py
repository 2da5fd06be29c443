"""The client's own record of what it sent and what it was told, to hold the database against."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tests.support.load import post

Key = tuple[str, str]
"""A receipt: its sms_activity_id and its status."""

STATUSES = ("ACKNOWLEDGED", "DELIVERED")
CLOCK_SLACK = 0.005
"""Seconds: one machine, one clock, but its readings are rounded."""


@dataclass(slots=True)
class Attempt:
    """One request. Without an answer it may or may not have arrived."""

    key: Key
    sent_at: float
    ended_at: float = float("inf")
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A receipt as the database has it."""

    received_at: datetime
    times_seen: int


@dataclass
class Ledger:
    """Makes the requests, unique receipts and now and then one again, and notes every answer."""

    prefix: str
    headers: Mapping[str, str]
    repeat: float = 0.1
    seed: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    slowest: float = 0.0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def next_request(self) -> bytes:
        """The bytes of one more attempt, about to be sent."""
        if self.attempts and self._random.random() < self.repeat:
            key = self._random.choice(self.attempts[-200:]).key
        else:
            number = len(self.attempts)
            key = (f"{self.prefix}-{number // 2}", STATUSES[number % 2])
        self.attempts.append(Attempt(key, time.time()))
        return post("/dlr", self.headers, _body(key))

    def on_answer(self, index: int, status: int, seconds: float) -> None:
        """What ``drive`` reports."""
        attempt = self.attempts[index]
        attempt.ended_at, attempt.status = time.time(), status
        self.slowest = max(self.slowest, seconds)

    @property
    def acknowledged(self) -> int:
        """How many attempts were answered 200."""
        return sum(attempt.status == 200 for attempt in self.attempts)

    @property
    def statuses(self) -> Counter[int | None]:
        """How many attempts were answered what; None is no answer."""
        return Counter(attempt.status for attempt in self.attempts)

    def faults(self, rows: Mapping[Key, Row]) -> list[str]:
        """Everything about the database that the record does not bear out; empty if all is well."""
        by_key: dict[Key, list[Attempt]] = {}
        for attempt in self.attempts:
            by_key.setdefault(attempt.key, []).append(attempt)
        found = [f"{key}: never sent" for key in rows if key not in by_key]
        for key, attempts in by_key.items():
            found += (f"{key}: {fault}" for fault in _faults(attempts, rows.get(key)))
        return found


def _faults(attempts: list[Attempt], row: Row | None) -> Iterator[str]:
    acknowledged = [attempt for attempt in attempts if attempt.status == 200]
    if row is None:
        if acknowledged:
            yield f"acknowledged {len(acknowledged)} times and not stored"
        return
    if not len(acknowledged) <= row.times_seen <= len(attempts):
        yield (
            f"times_seen is {row.times_seen}, acknowledged were {len(acknowledged)} "
            f"of {len(attempts)} attempts"
        )
    received = row.received_at.timestamp()
    if not any(
        attempt.sent_at - CLOCK_SLACK <= received <= attempt.ended_at + CLOCK_SLACK
        for attempt in attempts
    ):
        yield f"received_at {row.received_at} lies in no attempt"
    if acknowledged and received > min(a.ended_at for a in acknowledged) + CLOCK_SLACK:
        yield f"received_at {row.received_at} is after it was first acknowledged"


def _body(key: Key) -> bytes:
    sms_activity_id, status = key
    receipt = {
        "sms_activity_id": sms_activity_id,
        "delivery_status": "smsc submit" if status == "ACKNOWLEDGED" else "delivery success",
        "status_reason": "8" if status == "ACKNOWLEDGED" else "1",
        "receipt_timestamp": "2026-06-06 18:37:46",
        "status": status,
    }
    return json.dumps(receipt).encode()
