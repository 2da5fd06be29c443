"""The record of received sends, for the assertions of tests and benchmarks.

Counts are exact for the first million distinct X-Message-Ids; later ones are only counted as
``uncounted``. Of the messages themselves the latest are kept.
"""

from __future__ import annotations

import secrets
import uuid
from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime

from app.simulator.requests import Submission

MAX_IDS = 1_000_000
MESSAGES_KEPT = 100_000

# UUID version 1 like iovox's, with a random node, which RFC 9562 marks by the multicast bit.
_NODE = secrets.randbits(48) | 1 << 40


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted send."""

    sms_activity_id: str
    accepted_at: datetime
    submission: Submission


class Ledger:
    """Counts sends by X-Message-Id: attempted ones and accepted ones."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Reset all counts and messages."""
        self.requests = 0
        self.accepted = 0
        self.repeated = 0
        self.uncounted = 0
        self.messages: deque[Accepted] = deque(maxlen=MESSAGES_KEPT)
        self.attempts_by_id: Counter[str] = Counter()
        self.accepted_by_id: Counter[str] = Counter()
        self._failed_once: dict[str | bytes, None] = {}

    def attempt(self, message_id: str | None) -> None:
        """Count a well-formed send, whether accepted or not."""
        self._count(self.attempts_by_id, message_id)

    def accept(self, submission: Submission, now: datetime) -> Accepted:
        """Record an accepted send under a new sms_activity_id."""
        entry = Accepted(str(uuid.uuid1(node=_NODE)), now, submission)
        self.accepted += 1
        self.repeated += self._count(self.accepted_by_id, submission.x_message_id) == 2
        self.messages.append(entry)
        return entry

    def fails_now(self, key: str | bytes) -> bool:
        """True the first time that it is called with this key, then False."""
        if key in self._failed_once:
            return False
        if len(self._failed_once) >= MAX_IDS:
            self._failed_once.pop(next(iter(self._failed_once)))
        self._failed_once[key] = None
        return True

    def _count(self, counter: Counter[str], message_id: str | None) -> int:
        if message_id is None:
            return 0
        if message_id not in counter and len(counter) >= MAX_IDS:
            self.uncounted += 1
            return 0
        counter[message_id] += 1
        return counter[message_id]
