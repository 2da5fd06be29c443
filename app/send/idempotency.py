"""The Idempotency-Key of a request, by the IETF draft: one key and one body make one text."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, Field

from app.errors import BadRequest
from app.store.idempotency import IdempotencyKey

MAX_KEY_LENGTH = 255
HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
VISIBLE = "[!-~]"
_VISIBLE = re.compile(f"{VISIBLE}{{1,{MAX_KEY_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class KeyedBody:
    """The key of a request, and the fingerprint of its body."""

    key: str
    fingerprint: bytes

    def claim(
        self, app: str, *, message_id: UUID | None = None, answer: str | None = None
    ) -> IdempotencyKey:
        """The claim to store when the key is used for the first time."""
        return IdempotencyKey(app, self.key, self.fingerprint, message_id, answer)


def read_key(text: object) -> str:
    """The key in a header, as a pydantic validator. Raises ValueError for an invalid one.

    The draft writes it as a quoted string, most clients without the quotes: both are the same key.
    """
    key = str(text).strip()
    if len(key) >= 2 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1]
    if not _VISIBLE.fullmatch(key):
        raise ValueError(f"must be 1 to {MAX_KEY_LENGTH} visible ASCII characters, no spaces")
    return key


Key = Annotated[
    str, Field(max_length=MAX_KEY_LENGTH, pattern=f"^{VISIBLE}+$"), BeforeValidator(read_key)
]


def keyed_body(key: str, operation: str, body: object) -> KeyedBody:
    """The key with the fingerprint of the operation and its JSON body. Raises BadRequest."""
    try:
        text = json.dumps([operation, body], sort_keys=True)
    except RecursionError:  # JSON at the depth limit of reading may be beyond that of writing
        raise BadRequest("The body is not JSON that we read: it is nested too deeply") from None
    return KeyedBody(key, blake2b(text.encode(), digest_size=16).digest())
