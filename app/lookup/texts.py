"""Values as callers read them: JSON, and times in it. Pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


def json_bytes(value: object) -> bytes:
    """JSON without spaces; text as it is, and escaped where it is not fit for UTF-8."""
    try:
        return _encoder.encode(value).encode()
    except UnicodeEncodeError:  # a lone surrogate, which only a caller's own text can have
        return json.dumps(value).encode()


def rfc3339(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC ending in Z; fractions of a second only where there are any."""
    if moment is None:
        return None
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat().removesuffix("+00:00") + "Z"
