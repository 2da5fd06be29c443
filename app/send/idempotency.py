"""Idempotency-Key, by the IETF draft: one key and one body make one text."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, Field

from app.errors import BadRequest, Conflict, FieldError, Invalid
from app.model.status import Status
from app.send.submitter import Sent
from app.store.idempotency import IdempotencyKey
from app.store.messages import Tracked

LONGEST_KEY = 255
HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
VISIBLE = "[!-~]"
_VISIBLE = re.compile(f"{VISIBLE}{{1,{LONGEST_KEY}}}")


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


def read_key(text: object) -> str:
    """The key in a header, for pydantic. Raises ValueError for one that cannot be used.

    The draft writes it as a quoted string; most clients leave the quotes out: both are one key.
    """
    key = str(text).strip()
    if len(key) >= 2 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1]
    if not _VISIBLE.fullmatch(key):
        raise ValueError(f"must be 1 to {LONGEST_KEY} visible ASCII characters, no spaces")
    return key


Key = Annotated[
    str, Field(max_length=LONGEST_KEY, pattern=f"^{VISIBLE}+$"), BeforeValidator(read_key)
]


def keyed_body(key: str, operation: str, body: object) -> KeyedBody:
    """The key with what it is used for. Raises BadRequest."""
    try:
        text = json.dumps([operation, body], sort_keys=True)
    except RecursionError:  # what could just be read is too deep to be written again
        raise BadRequest("The body is not JSON that we read: it is nested too deeply") from None
    return KeyedBody(key, blake2b(text.encode(), digest_size=16).digest())


def require_same(used: IdempotencyKey, now: KeyedBody) -> None:
    """Raises Invalid where the key was used for something else."""
    if used.fingerprint != now.fingerprint:
        fault = FieldError(HEADER, "was used within the last 24 hours with another body")
        raise Invalid("Use a new idempotency key for a new request", errors=(fault,))


def first_answer(tracked: Tracked, now: datetime) -> Sent:
    """What the first request was told, or Conflict while that is not known yet.

    Told from the message itself, so it holds across replicas, restarts and crashes. Only where the
    database was away when the outcome was known was the first one told less (UNCONFIRMED).
    """
    message = tracked.message
    first = {step.status: step for step in reversed(tracked.steps)}
    told = _told(tracked, first.keys(), now)
    if told is None:
        raise Conflict(
            "The first request with this idempotency key is still being answered",
            headers={"Retry-After": "1"},
        )
    return Sent(
        message_id=message.id,
        status=told,
        sms_activity_id=tracked.sms_activity_id if told is Status.SUBMITTED else None,
        errors=tracked.errors if told in (Status.REJECTED, Status.UNSENT) else (),
        reasons=first[told].reasons if told in first else (),
    )


def _told(tracked: Tracked, steps: Collection[Status], now: datetime) -> Status | None:
    message = tracked.message
    if message.announced:
        return Status.QUEUED
    for status in (Status.UNCONFIRMED, Status.REJECTED):
        if status in steps:
            return status
    if tracked.sms_activity_id is not None:
        return Status.SUBMITTED
    if message.state is Status.UNSENT:
        return Status.UNSENT
    if message.lease_until is not None and message.lease_until <= now:
        return Status.UNCONFIRMED
    return None
