"""Hooks for `st run`. Random text is no phone number: valid messages are given one.

So they are taken, and stateful runs have something to look up, cancel and resend.
"""

from __future__ import annotations

from typing import Any

import schemathesis

SENDS = ("POST /v1/messages", "POST /v1/messages/batch")
SENDABLE = {"origin": "447923221231", "destination": "447700900100", "send_at": None}


@schemathesis.hook
def map_case(_context: Any, case: Any) -> Any:
    """Only of cases that are to be taken: what is wrong with another may be its number."""
    if case.operation.label in SENDS and case.meta.generation.mode.is_positive:
        for message in case.body.get("messages", [case.body]):
            message.update(SENDABLE)
    return case
