"""iovox's vocabulary as tables: its error texts, and the numbers in its receipts.

The texts are those that iovox publishes; what it says beyond them is unknown, which is a value
here and never an error. The raw form is for the caller to keep.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """What an error text of iovox's is about.

    ``code`` is stable and ours; ``field`` is the field of ``POST /v1/messages`` that the caller
    should look at, or None where the fault is in none of them.
    """

    code: str
    field: str | None = None


UNKNOWN_FAULT = Fault("unknown")

_FAULTS: tuple[tuple[re.Pattern[str], Fault], ...] = tuple(
    (re.compile(text, re.IGNORECASE | re.DOTALL), fault)
    for text, fault in (
        (r"Origin Empty", Fault("origin-empty", "origin")),
        (r"Origin Invalid\b.*", Fault("origin-invalid", "origin")),
        (r"Destination Empty", Fault("destination-empty", "destination")),
        (r"Destination Invalid\b.*", Fault("destination-invalid", "destination")),
        (r"Message Empty", Fault("message-empty", "message")),
        (
            r"Message must be less than \d+ characters long",
            Fault("message-too-long", "message"),
        ),
        (r"API Version Empty", Fault("api-version-empty")),
        (r"API Version Invalid\b.*", Fault("api-version-invalid")),
        (r"Request Method must be POST\b.*", Fault("method-not-post")),
        (r"XML Empty", Fault("xml-empty")),
        (r"XML parse error\b.*", Fault("xml-parse-error")),
        (r"Request Empty", Fault("request-empty")),
        (r"(?:HTTP 401: )?Unauthorized", Fault("unauthorized")),
        (r"Internal Server Error", Fault("internal-server-error")),
    )
)

# iovox gives them with no explanation; they are the bits of Kannel's delivery report mask, which
# fits every pair of number and text that its page shows.
_REASONS = {
    "1": "delivery success",
    "2": "delivery failure",
    "4": "message buffered",
    "8": "smsc submit",
    "16": "smsc reject",
    "32": "smsc intermediate",
}


def fault_of(text: str) -> Fault:
    """What iovox's error text is about, ``UNKNOWN_FAULT`` where it is not a documented one."""
    stripped = text.strip().removesuffix(".")
    for pattern, fault in _FAULTS:
        if pattern.fullmatch(stripped):
            return fault
    return UNKNOWN_FAULT


def reason_words(status_reason: str | None) -> str | None:
    """The words for a receipt's ``status_reason``, or None where the number is not a known one."""
    return None if status_reason is None else _REASONS.get(status_reason.strip())
