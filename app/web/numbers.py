"""Phone numbers in requests: the types of fields, and the region whose national forms are read.

FastAPI validates a request without pydantic's context, so the region reaches the types by a context
variable, which `app.web.routing.KeyedRoute` sets for its request alone.
"""

from __future__ import annotations

from contextvars import ContextVar

from pydantic import AfterValidator

from app.model.numbers import read_number, read_origin
from app.web.faults import quoted

_region: ContextVar[str | None] = ContextVar("default_region", default=None)


def read_national_forms(region: str | None) -> None:
    """Read the national forms of this region in the request that is handled, or none."""
    _region.set(region)


def _destination(text: str) -> str:
    """Raises ValueError in iovox's words, as ``_origin`` does."""
    if not text.strip():
        raise ValueError("Destination Empty")
    try:
        return read_number(text, _region.get())
    except ValueError as error:
        raise ValueError(f"Destination Invalid: {quoted(text)} ({error})") from None


def _origin(text: str) -> str:
    if not text.strip():
        raise ValueError("Origin Empty")
    try:
        return read_origin(text, _region.get())
    except ValueError as error:
        raise ValueError(f"Origin Invalid: {quoted(text)} ({error})") from None


def _sent_to(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    try:
        return read_number(text, _region.get())
    except ValueError as error:
        raise ValueError(f"is no phone number that can be read: {error}") from None


def _sent_from(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    try:
        return read_origin(text, _region.get())
    except ValueError as error:
        raise ValueError(f"is no origin that could be sent: {error}") from None


AsDestination = AfterValidator(_destination)
AsOrigin = AfterValidator(_origin)
"""For the fields of a message to send."""
SentTo = AfterValidator(_sent_to)
SentFrom = AfterValidator(_sent_from)
"""Filters on what was sent, read like it: nothing that cannot be sent is looked for in vain."""
