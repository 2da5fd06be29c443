"""Idempotency-Key, by the IETF draft: one key and one body make one text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from uuid import UUID

from app.errors import Conflict, FieldError, Invalid
from app.model.status import Status
from app.send.submitter import Sent
from app.store.idempotency import IdempotencyKey
from app.store.messages import Tracked

LONGEST_KEY = 255
HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"


@dataclass(frozen=True, slots=True)
class KeyedBody:
    """The key a caller sent, and what tells its body from another one."""

    key: str
    fingerprint: bytes

    def claim(
        self, app: str, *, message_id: UUID | None = None, answer: str | None = None
    ) -> IdempotencyKey:
        """What is stored when the key is used for the first time."""
        return IdempotencyKey(app, self.key, self.fingerprint, message_id, answer)


def read_key(header: str | None, route: str, body: object) -> KeyedBody | None:
    """The key of a request, or None. Raises Invalid for a key that is none.

    The draft writes it as a quoted string; most clients leave the quotes out, so both are one key.
    """
    if header is None:
        return None
    key = header.strip()
    if len(key) >= 2 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1]
    if not key or len(key) > LONGEST_KEY or not (key.isascii() and key.isprintable()):
        fault = FieldError(HEADER, f"must be 1 to {LONGEST_KEY} visible ASCII characters")
        raise Invalid("The idempotency key cannot be used", errors=(fault,))
    text = json.dumps([route, body], sort_keys=True)
    return KeyedBody(key, blake2b(text.encode(), digest_size=16).digest())


def require_same(used: IdempotencyKey, now: KeyedBody) -> None:
    """Raises Invalid where the key was used for something else."""
    if used.fingerprint != now.fingerprint:
        fault = FieldError(HEADER, "was used within the last 24 hours with another body")
        raise Invalid("Use a new idempotency key for a new request", errors=(fault,))


def first_answer(tracked: Tracked, now: datetime) -> Sent:
    """What the first request was told, or Conflict while that is not known yet.

    Told from the message itself, so it holds across replicas, restarts and crashes.
    """
    message = tracked.message
    steps = {step.status for step in tracked.steps}
    if message.announced:
        return Sent(message.id, Status.QUEUED)
    if Status.UNCONFIRMED in steps:
        return Sent(message.id, Status.UNCONFIRMED)
    if Status.REJECTED in steps:
        return Sent(message.id, Status.REJECTED, None, tracked.errors)
    if tracked.sms_activity_id is not None:
        return Sent(message.id, Status.SUBMITTED, tracked.sms_activity_id)
    if message.state is Status.UNSENT:
        return Sent(message.id, Status.UNSENT)
    if message.lease_until is not None and message.lease_until <= now:
        return Sent(message.id, Status.UNCONFIRMED)
    raise Conflict(
        "The first request with this idempotency key is still being answered",
        headers={"Retry-After": "1"},
    )
