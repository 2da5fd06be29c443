"""Phone numbers in requests: the types of fields, and the region whose national forms are read.

FastAPI validates a request without pydantic's context, so the region reaches the types by a context
variable, which `app.web.routing.KeyedRoute` sets for its request alone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from pydantic import AfterValidator

from app.model.numbers import read_number, read_origin
from app.web.faults import quoted

_region: ContextVar[str | None] = ContextVar("default_region", default=None)


def read_national_forms(region: str | None) -> None:
    """Read the national forms of this region in the request that is handled, or none."""
    _region.set(region)


def _read_by(
    read: Callable[[str, str | None], str], *, empty: str, unreadable: str
) -> AfterValidator:
    """A validator that reads a number in the request's region.

    ``empty`` and ``unreadable`` are the error texts; the latter has the fields ``{text}`` and
    ``{why}``.
    """

    def validate(text: str) -> str:
        if not text.strip():
            raise ValueError(empty)
        try:
            return read(text, _region.get())
        except ValueError as error:
            raise ValueError(unreadable.format(text=quoted(text), why=error)) from None

    return AfterValidator(validate)


AsDestination = _read_by(
    read_number, empty="Destination Empty", unreadable="Destination Invalid: {text} ({why})"
)
AsOrigin = _read_by(read_origin, empty="Origin Empty", unreadable="Origin Invalid: {text} ({why})")
"""For the fields of a message to send; their errors are in iovox's words."""
SentTo = _read_by(
    read_number, empty="is empty", unreadable="is no phone number that can be read: {why}"
)
SentFrom = _read_by(
    read_origin, empty="is empty", unreadable="is no origin that could be sent: {why}"
)
"""For filters, which read a number as a send does: one that could not be sent is an error, not an
empty list."""
