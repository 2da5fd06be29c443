"""What arrived, counted: the witness that a test or a load run asks afterwards.

Counts are exact for the first million different X-Message-Ids, and say so beyond; of the
messages themselves the latest are kept.
"""

from __future__ import annotations

import secrets
import uuid
from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime

from app.simulator.requests import Submission

MOST_IDS = 1_000_000
MESSAGES_KEPT = 100_000

# Ours is version 1 like iovox's, but names no network card: a random node has this bit set.
_NODE = secrets.randbits(48) | 1 << 40


@dataclass(frozen=True, slots=True)
class Accepted:
    """A text that iovox would now send."""

    sms_activity_id: str
    accepted_at: datetime
    submission: Submission


class Ledger:
    """Counts every send by X-Message-Id, twice over: attempted, and accepted."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.requests = 0
        self.accepted = 0
        self.repeated = 0
        self.uncounted = 0
        self.messages: deque[Accepted] = deque(maxlen=MESSAGES_KEPT)
        self.attempts_by_id: Counter[str] = Counter()
        self.accepted_by_id: Counter[str] = Counter()
        self._failed_once: dict[str | bytes, None] = {}

    def attempt(self, message_id: str | None) -> None:
        """A well-formed send came, whatever it will be answered."""
        self._count(self.attempts_by_id, message_id)

    def accept(self, submission: Submission, now: datetime) -> Accepted:
        """Take the text, under a new id."""
        entry = Accepted(str(uuid.uuid1(node=_NODE)), now, submission)
        self.accepted += 1
        self.repeated += self._count(self.accepted_by_id, submission.x_message_id) == 2
        self.messages.append(entry)
        return entry

    def fails_now(self, key: str | bytes) -> bool:
        """True the first time that this send is seen, and never again."""
        if key in self._failed_once:
            return False
        if len(self._failed_once) >= MOST_IDS:
            self._failed_once.pop(next(iter(self._failed_once)))
        self._failed_once[key] = None
        return True

    def _count(self, counter: Counter[str], message_id: str | None) -> int:
        if message_id is None:
            return 0
        if message_id not in counter and len(counter) >= MOST_IDS:
            self.uncounted += 1
            return 0
        counter[message_id] += 1
        return counter[message_id]
