"""Hooks for `st run`: whose key a call has, and valid messages.

Random text is no phone number: valid messages are given one. So they are taken, and stateful runs
have something to look up, cancel and resend.
"""

from __future__ import annotations

import json
import os
from itertools import cycle
from typing import Any

import schemathesis

SENDS = ("POST /v1/messages", "POST /v1/messages/batch")
SENDABLE = {"origin": "447923221231", "destination": "447700900100", "send_at": None}
KEYS = {tag: cycle(keys) for tag, keys in json.loads(os.environ.get("KEYS_BY_TAG", "{}")).items()}


@schemathesis.hook
def map_case(_context: Any, case: Any) -> Any:
    """Only of cases that are to be taken: what is wrong with another may be its number."""
    if case.operation.label in SENDS and case.meta.generation.mode.is_positive:
        for message in case.body.get("messages", [case.body]):
            message.update(SENDABLE)
    return case


if KEYS:

    @schemathesis.auth(refresh_interval=None)
    class KeyOfTheTag:
        """A key of the scopes that an operation needs and no more; where several have them, one
        after the other.
        """

        def get(self, case: Any, _context: Any) -> str:
            """Return the next one."""
            return str(next(KEYS[case.operation.tags[0]]))

        def set(self, case: Any, data: str, _context: Any) -> None:
            """Put it where `--header` would."""
            case.headers["Authorization"] = f"Bearer {data}"
