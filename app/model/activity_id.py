"""The spelling of an sms_activity_id. Pure; the text is untrusted.

iovox's ids are opaque. But a UUID is the same one in upper case, in braces or padded, and the
systems between us and iovox write it differently. It is brought to one spelling in iovox's answers,
in receipts and in lookups, so that a message and its receipts meet.
"""

from __future__ import annotations

import re

MAX_ID_LENGTH = 255
"""Characters that the database can store."""

_UUID_LENGTHS = (36, 38)
_UUID = re.compile(
    r"(?P<brace>\{)?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?(brace)\})",
    re.ASCII | re.IGNORECASE,
)


def one_spelling(sms_activity_id: str) -> str:
    """The id without outer white space; a UUID with its dashes in lower case, without braces.

    Everything else stays as it is: case and zeros may tell opaque ids apart.
    """
    trimmed = sms_activity_id.strip()
    if len(trimmed) in _UUID_LENGTHS and (match := _UUID.fullmatch(trimmed)):
        return match[2].lower()
    return trimmed
