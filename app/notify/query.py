"""What may be asked of events and deliveries: tables that the routes and their document share."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from app.model.event import event_number
from app.model.webhook import DeliveryState
from app.notify.answers import EVENT_ID, STATUS
from app.notify.filters import read_statuses
from app.openapi import Json, parameter
from app.query import TEXT_SCHEMA, Parameter, limit, short_text

PAGE = 100
LAST_EVENT_ID = "Last-Event-ID"


def _statuses(text: str) -> frozenset[str]:
    return read_statuses([text])


def _state(text: str) -> DeliveryState:
    try:
        return DeliveryState(text)
    except ValueError:
        raise ValueError(f"must be one of: {', '.join(DeliveryState)}") from None


def _delivery(text: str) -> UUID:
    try:
        found = UUID(text)
    except ValueError:
        found = None
    if found is None or str(found) != text.lower():
        raise ValueError("is not one that this service gave")
    return found


_LIMIT = limit(PAGE, f"How many at most: {PAGE} if left out")

FEED: Mapping[str, Parameter] = {
    "after": Parameter(event_number, EVENT_ID, "An event's `id`, or `next`"),
    "limit": _LIMIT,
}

STREAM: Mapping[str, Parameter] = {
    "message": Parameter(short_text, TEXT_SCHEMA, "A message's id, ours or iovox's"),
    "status": Parameter(
        _statuses,
        {"type": "array", "items": STATUS, "minItems": 1},
        "Any of these; separated by commas, or the parameter repeated",
        is_list=True,
        more={"style": "form", "explode": False},
    ),
    "reference": Parameter(short_text, TEXT_SCHEMA, "Your own name for the message, exactly"),
    "after": Parameter(event_number, EVENT_ID, "Like `Last-Event-ID`, which outranks it"),
}

DELIVERIES: Mapping[str, Parameter] = {
    "state": Parameter(_state, {"type": "string", "enum": [*DeliveryState]}, "What became of them"),
    "cursor": Parameter(
        _delivery, {"type": "string", "format": "uuid"}, "`next` of the page before"
    ),
    "limit": _LIMIT,
}

RESUME: Json = parameter(
    LAST_EVENT_ID,
    EVENT_ID,
    "The last event that was seen; without it, from now",
    where="header",
)
