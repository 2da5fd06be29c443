"""What may be asked of the feed and of its live stream."""

from __future__ import annotations

from pydantic import Field

from app.web.events import EventCursor, EventStatuses
from app.web.query import PageSize, Query, ShortText

PAGE = 100


class FeedQuery(Query):
    """A page of the feed."""

    after: EventCursor | None = Field(None, description="An event's `id`, or `next`")
    limit: PageSize = Field(PAGE, description="How many at most")


class StreamQuery(Query):
    """Which events a stream brings, and from where on."""

    message: ShortText | None = Field(None, description="A message's id, ours or iovox's")
    status: EventStatuses = Field(
        [], description="Any of these; separated by commas, or the parameter repeated"
    )
    reference: ShortText | None = Field(None, description="Your own name for the message, exactly")
    after: EventCursor | None = Field(None, description="Like `Last-Event-ID`, which outranks it")
