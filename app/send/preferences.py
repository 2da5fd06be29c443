"""The `Prefer` header of a send (RFC 7240): whether the caller would rather not wait for iovox."""

from __future__ import annotations

from collections.abc import Iterable

HEADER = "Prefer"
APPLIED = "Preference-Applied"
RESPOND_ASYNC = "respond-async"


def prefers_async(lines: Iterable[str]) -> bool:
    """Whether any line of the header has ``respond-async``. What else it has is passed over, as
    the RFC asks of preferences that a server does not know.
    """
    preferences = (each for line in lines for each in line.split(","))
    return any(each.partition(";")[0].strip().lower() == RESPOND_ASYNC for each in preferences)
