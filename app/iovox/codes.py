"""iovox's error texts as a table: which field of a request each one is about.

The texts are those that iovox documents; any other text is about no field.
"""

from __future__ import annotations

import re

_FIELDS = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), field)
    for pattern, field in (
        (r"Origin (?:Empty|Invalid\b.*)", "origin"),
        (r"Destination (?:Empty|Invalid\b.*)", "destination"),
        (r"Message (?:Empty|must be less than \d+ characters long)", "message"),
    )
)


def field_of(text: str) -> str | None:
    """The field of ``POST /v1/messages`` that an error text of iovox's is about, if any."""
    stripped = text.strip().removesuffix(".")
    return next((field for pattern, field in _FIELDS if pattern.fullmatch(stripped)), None)
