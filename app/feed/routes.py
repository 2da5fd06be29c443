"""``/v1/events`` and its live stream. The caller holds a key with the scope ``read``; another app's
events and messages do not exist to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from app.errors import FieldError, Gone, Invalid, NotFound, StoreRefused, StoreUnavailable
from app.feed.hub import Hub
from app.feed.requests import FeedQuery, StreamQuery
from app.feed.streams import Stream
from app.feed.view import View
from app.model.event import Cursor, event_body, event_cursor
from app.server.requests import ABORT_EXTENSION
from app.store.feed import FeedStore
from app.web.caller import Caller, ReadCaller
from app.web.events import Event
from app.web.problems import Responses, problems
from app.web.routing import KeyedRoute
from app.web.state import from_state

LAST_EVENT_ID = "Last-Event-ID"

router = APIRouter(route_class=KeyedRoute, tags=["events"])

log = structlog.get_logger(__name__)


class EventPage(BaseModel):
    """Events, oldest first."""

    events: list[Event]
    next: str = Field(description="Hand it in as `after`; always set")


class StreamedEvent(BaseModel):
    """One event of a stream, once its lines are read. The first has no data."""

    id: str = Field(description="The Event's `id`")
    data: str | SkipJsonSchema[None] = Field(None, description="An Event, as JSON")


Feed = Annotated[FeedStore, from_state("feed")]
TheHub = Annotated[Hub, from_state("hub")]

_STREAM: Responses = {
    200: {
        "description": "Server-sent events; comments are heartbeats",
        "content": {"text/event-stream": {"schema": StreamedEvent.model_json_schema()}},
    }
}


@router.get(
    "/v1/events",
    summary="Every status change, in the order of commits",
    responses=problems(Gone),
)
async def read_events(
    asked: Annotated[FeedQuery, Query()], caller: ReadCaller, feed: Feed
) -> EventPage:
    """Ask again with `after` set to `next`: nothing is missed, and nothing comes twice."""
    start = await _position(feed, "after", asked.after) or 0
    page = await feed.page(after=start, app=caller.sees, limit=asked.limit)
    if not page or page[0].number != start + 1:  # after the page: what it skipped may be deleted
        await _require_kept(feed, start)
    events = [Event.model_validate(event_body(event)) for event in page]
    end = page[-1].id if page else str(asked.after or Cursor(0, await feed.era()))
    return EventPage(events=events, next=end)


async def _open_stream(
    asked: Annotated[StreamQuery, Query()],
    caller: ReadCaller,
    feed: Feed,
    hub: TheHub,
    request: Request,
    last_event_id: Annotated[
        str | None,
        Header(alias=LAST_EVENT_ID, description="The last event seen; without it, from now"),
    ] = None,
) -> AsyncIterator[tuple[Stream, int | None]]:
    """A stream that has entered the hub, and the event that it goes on after, if any.

    The framework ends this once the response has ended, however that came about.
    """
    # A browser that reconnects keeps its URL, so the header is the newer of the two.
    if last_event_id:  # empty is how some readers write that they have seen none
        after = await _position(feed, LAST_EVENT_ID, _last_seen(last_event_id))
    else:
        after = await _position(feed, "after", asked.after)
    await _require_kept(feed, after)
    view = await _view(feed, caller, asked)
    stream = Stream(view, key_id=caller.key_id, abort=_abort_of(request))
    hub.enter(stream)
    try:
        yield stream, after
    finally:
        hub.leave(stream)


@router.get(
    "/v1/events/stream",
    summary="The same events, live",
    response_class=StreamingResponse,
    responses=_STREAM | problems(NotFound, Gone),
)
async def stream_events(
    opened: Annotated[tuple[Stream, int | None], Depends(_open_stream)],
    hub: TheHub,
    request: Request,
) -> StreamingResponse:
    """Server-sent events; each one's `id` is the event's. Reconnect with Last-Event-ID."""
    stream, after = opened
    return StreamingResponse(
        _chunks(hub, stream, after, _extension(request).get("endless", _no_operation)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _chunks(
    hub: Hub, stream: Stream, after: int | None, set_endless: Callable[[], None]
) -> AsyncIterator[bytes]:
    # From here on a client that closes its sending side has left. One that closed it together with
    # its request still gets its answer, such as a problem.
    set_endless()
    try:
        async with aclosing(hub.follow(stream, after)) as chunks:
            async for chunk in chunks:
                yield chunk
    except (StoreUnavailable, StoreRefused) as error:
        log.warning("stream_ended", reason=error.detail)


def _abort_of(request: Request) -> Callable[[], None]:
    """Aborts the connection of a client that reads nothing: see `app.server.requests`.

    A server without our ASGI extension cannot; the client's stream is then only unregistered.
    """
    return _extension(request).get("abort", _no_operation)


def _extension(request: Request) -> dict[str, Callable[[], None]]:
    extension: dict[str, Callable[[], None]] = request.scope.get("extensions", {}).get(
        ABORT_EXTENSION, {}
    )
    return extension


def _no_operation() -> None:
    """Stands for the functions of the extension on a server that does not have it."""


def _last_seen(text: str) -> Cursor:
    """The event that a reader who reconnects goes on after. Raises Invalid."""
    try:
        return event_cursor(text)
    except ValueError as error:
        fault = FieldError(LAST_EVENT_ID, str(error))
        raise Invalid("A header is at fault", errors=(fault,)) from None


async def _position(feed: FeedStore, name: str, cursor: Cursor | None) -> int | None:
    """The position in the log that a cursor stands for; ``name`` is the parameter's, for errors.

    Raises Gone where the database has forgotten that position, as after a restore, and Invalid for
    a cursor that was never given out.
    """
    if cursor is None:
        return None
    reach = await feed.reach(cursor)
    if reach.is_forgotten:
        go_on = Cursor(reach.number, await feed.era())
        raise Gone(
            "The database has forgotten this place in the log, as after a restore or a failover. "
            "Go on after `next`: no event is missed, and some may come again",
            go_on=str(go_on),
        )
    if cursor.number and not await feed.was_given(cursor.number):
        fault = FieldError(name, "there is no such event yet")
        raise Invalid("The log of events does not reach as far as that", errors=(fault,))
    return cursor.number


async def _require_kept(feed: FeedStore, number: int | None) -> None:
    """Raises Gone where events after this cursor are no longer kept; the beginning always is."""
    if number and number < (deleted := await feed.deleted_up_to()):
        raise Gone(
            "Events after this cursor are no longer kept. Go on with `next`, and look up the "
            "messages whose events you may have missed",
            go_on=str(Cursor(deleted, await feed.era())),
        )


async def _view(feed: FeedStore, caller: Caller, asked: StreamQuery) -> View:
    message_id = None
    if asked.message is not None:
        message_id = await feed.message_named(asked.message, app=caller.sees)
        if message_id is None:
            raise NotFound("There is no message with this id")
    return View(caller.sees, message_id, frozenset(asked.status), asked.reference)
