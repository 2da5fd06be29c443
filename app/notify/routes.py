"""``/v1/events``, its live stream, and ``/v1/webhooks``. The caller holds a key with the scope
``read``; another app's events, messages and webhooks do not exist to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from app.auth import Authenticator, Caller, CurrentCaller, Scope, secured_router
from app.errors import Conflict, FieldError, Invalid, NotFound, StoreRefused, StoreUnavailable
from app.model.event import event_body, event_id, event_number
from app.notify.answers import (
    CREATED,
    NEW_WEBHOOK,
    REPLAY,
    STREAM_ANSWER,
    WEBHOOK_CHANGE,
    answer,
)
from app.notify.filters import View
from app.notify.hub import Hub
from app.notify.query import DELIVERIES, FEED, LAST_EVENT_ID, PAGE, RESUME, STREAM
from app.notify.requests import (
    NewWebhook,
    ReplayRequest,
    WebhookChange,
    read_uuid,
    understand,
)
from app.notify.streams import Stream
from app.notify.subscriptions import Subscriptions, show, show_delivery
from app.openapi import BODY_PROBLEMS, json_body, problems
from app.query import documented, read_query
from app.store.feed import FeedStore
from app.web import read_json

STREAM_PATH = "/v1/events/stream"
_CONNECTION = "dlr.connection"

log = structlog.get_logger(__name__)


def feed_routes(*, feed: FeedStore, hub: Hub, authenticator: Authenticator) -> APIRouter:
    """The log of status changes: in pages, and live."""
    router = secured_router(authenticator, Scope.READ, tags=["events"])

    @router.get(
        "/v1/events",
        summary="Every status change, in the order of commits",
        responses=_EVENTS,
        openapi_extra={"parameters": documented(FEED)},
    )
    async def read_events(request: Request, caller: CurrentCaller) -> JSONResponse:
        """Ask again with ``after`` set to ``next``: nothing is missed, and nothing comes twice."""
        values = read_query(request.query_params.multi_items(), FEED)
        start = await _place(feed, "after", values.get("after")) or 0
        page = await feed.page(after=start, app=caller.sees, limit=values.get("limit", PAGE))
        end = page[-1].number if page else start
        return JSONResponse({"events": [event_body(e) for e in page], "next": event_id(end)})

    @router.get(
        STREAM_PATH,
        summary="The same events, live",
        status_code=200,
        response_class=EventStream,
        responses=STREAM_ANSWER | problems(NotFound, Invalid, Conflict),
        openapi_extra={"parameters": [*documented(STREAM), RESUME]},
    )
    async def stream_events(request: Request, caller: CurrentCaller) -> Response:
        """Server-sent events; each one's ``id`` is the event's. Reconnect with Last-Event-ID."""
        values = read_query(request.query_params.multi_items(), STREAM)
        # A browser that reconnects keeps its URL, so the header is the newer of the two.
        seen = _last_seen(request)
        name, place = ("after", values.get("after")) if seen is None else (LAST_EVENT_ID, seen)
        start = await _place(feed, name, place)
        view = await _view(feed, caller, values)
        return EventStream(hub, view, key_id=caller.key_id, after=start)

    return router


def webhook_routes(*, subscriptions: Subscriptions, authenticator: Authenticator) -> APIRouter:
    """Subscriptions: made, changed, tried, looked into and repeated."""
    router = secured_router(authenticator, Scope.READ, prefix="/v1/webhooks", tags=["webhooks"])

    @router.post("", status_code=201, summary="Subscribe to events", **_CREATE)
    async def create_webhook(request: Request, caller: CurrentCaller) -> JSONResponse:
        """To what happens from now on. The answer has the secret, which is never shown again."""
        asked = understand(NewWebhook, await read_json(request))
        webhook = await subscriptions.create(asked, sees=caller.sees)
        return JSONResponse(
            show(webhook) | {"secret": webhook.secret},
            status_code=201,
            headers={"Location": f"/v1/webhooks/{webhook.id}"},
        )

    @router.get(
        "", summary="All of them", responses=answer("WebhookList", "An app's own, oldest first")
    )
    async def list_webhooks(caller: CurrentCaller) -> JSONResponse:
        """An app's own; an admin sees every app's."""
        found = await subscriptions.all(sees=caller.sees)
        return JSONResponse({"webhooks": [show(webhook) for webhook in found]})

    @router.get("/{id}", summary="One of them", **_SHOWN)
    async def look_up_webhook(id: str, caller: CurrentCaller) -> JSONResponse:  # noqa: A002
        """Whether it works, and why not."""
        return JSONResponse(show(await subscriptions.find(_webhook(id), sees=caller.sees)))

    @router.patch("/{id}", summary="Another URL, other statuses; pause or resume", **_CHANGE)
    async def change_webhook(id: str, request: Request, caller: CurrentCaller) -> JSONResponse:  # noqa: A002
        """While it is paused nothing is sent and nothing is lost."""
        asked = understand(WebhookChange, await read_json(request))
        return JSONResponse(show(await subscriptions.change(_webhook(id), asked, sees=caller.sees)))

    @router.delete("/{id}", status_code=204, summary="Delete it and its deliveries", **_GONE)
    async def delete_webhook(id: str, caller: CurrentCaller) -> Response:  # noqa: A002
        """Nothing more is sent."""
        await subscriptions.remove(_webhook(id), sees=caller.sees)
        return Response(status_code=204)

    @router.post("/{id}/secret", summary="A new secret", **_SHOWN)
    async def rotate_webhook_secret(id: str, caller: CurrentCaller) -> JSONResponse:  # noqa: A002
        """Deliveries are signed with both for a day, so that there is time to change over."""
        webhook = await subscriptions.rotate(_webhook(id), sees=caller.sees)
        return JSONResponse(show(webhook) | {"secret": webhook.secret})

    _add_delivery_routes(router, subscriptions)
    return router


def _add_delivery_routes(router: APIRouter, subscriptions: Subscriptions) -> None:
    @router.post("/{id}/test", status_code=202, summary="Send a test event", **_SENT)
    async def send_test_event(id: str, caller: CurrentCaller) -> JSONResponse:  # noqa: A002
        """202 with a delivery, which tells a moment later how it went."""
        delivery = await subscriptions.test(_webhook(id), sees=caller.sees)
        return JSONResponse(show_delivery(delivery), status_code=202)

    @router.get("/{id}/deliveries", summary="What was sent, newest first", **_LISTED)
    async def list_deliveries(id: str, request: Request, caller: CurrentCaller) -> JSONResponse:  # noqa: A002
        """With what came of each."""
        values = read_query(request.query_params.multi_items(), DELIVERIES)
        limit = values.get("limit", PAGE)
        page = await subscriptions.deliveries(
            _webhook(id),
            sees=caller.sees,
            state=values.get("state"),
            below=values.get("cursor"),
            limit=limit,
        )
        end = str(page[-1].id) if len(page) == limit else None
        return JSONResponse({"deliveries": [show_delivery(each) for each in page], "next": end})

    @router.get("/{id}/deliveries/{delivery_id}", summary="One of them", **_DELIVERY)
    async def look_up_delivery(id: str, delivery_id: str, caller: CurrentCaller) -> JSONResponse:  # noqa: A002
        """What was sent, and what came of it."""
        found = await subscriptions.delivery(
            _webhook(id), read_uuid(delivery_id, "delivery"), sees=caller.sees
        )
        return JSONResponse(show_delivery(found))

    @router.post(
        "/{id}/deliveries/{delivery_id}/replay", status_code=202, summary="Send it again", **_SENT
    )
    async def replay_delivery(id: str, delivery_id: str, caller: CurrentCaller) -> JSONResponse:  # noqa: A002
        """Under the same ``webhook-id``, whatever came of it."""
        again = await subscriptions.replay(
            _webhook(id), read_uuid(delivery_id, "delivery"), sees=caller.sees
        )
        return JSONResponse(show_delivery(again), status_code=202)

    @router.post("/{id}/replay", status_code=202, summary="Send many again", **_REPLAY)
    async def replay_deliveries(id: str, request: Request, caller: CurrentCaller) -> JSONResponse:  # noqa: A002
        """In order. Where ``next`` is not null there are more: ask again with it as ``after``."""
        webhook_id = _webhook(id)
        which = understand(ReplayRequest, await read_json(request)).bounds()
        count, end = await subscriptions.replay_range(webhook_id, which, sees=caller.sees)
        return JSONResponse({"replayed": count, "next": end}, status_code=202)


_EVENTS = answer("EventPage", "A page") | problems(Invalid, Conflict)
_SHOWN: dict[str, Any] = {"responses": answer("Webhook", "The webhook") | problems(NotFound)}
_GONE: dict[str, Any] = {"responses": problems(NotFound)}
_DELIVERY: dict[str, Any] = {"responses": answer("Delivery", "The delivery") | problems(NotFound)}
_SENT: dict[str, Any] = {
    "responses": answer("Delivery", "What will be sent", status=202) | problems(NotFound, Conflict)
}
_LISTED: dict[str, Any] = {
    "responses": answer("DeliveryPage", "A page, newest first") | problems(NotFound, Invalid),
    "openapi_extra": {"parameters": documented(DELIVERIES)},
}
_CREATE: dict[str, Any] = {
    "responses": CREATED | problems(Conflict, Invalid, *BODY_PROBLEMS),
    "openapi_extra": json_body(
        NEW_WEBHOOK, example={"url": "https://billing.example.com/sms-events"}
    ),
}
_CHANGE: dict[str, Any] = {
    "responses": answer("Webhook", "As it is now")
    | problems(NotFound, Conflict, Invalid, *BODY_PROBLEMS),
    "openapi_extra": json_body(WEBHOOK_CHANGE, example={"paused": True}),
}
_REPLAY: dict[str, Any] = {
    "responses": answer("Replayed", "How many", status=202)
    | problems(NotFound, Conflict, Invalid, *BODY_PROBLEMS),
    "openapi_extra": json_body(
        REPLAY,
        example={"from": "2026-11-22T09:00:00Z", "to": "2026-11-22T10:00:00Z"},
    ),
}


class EventStream(Response):
    """A response that goes on until its reader leaves, is too slow, or we shut down."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, view: View, *, key_id: str, after: int | None) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._view = view
        self._key_id = key_id
        self._after = after

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Send events. Raises Unavailable before the first byte, and nothing after it."""
        stream = Stream(self._view, key_id=self._key_id, abort=_abort_of(scope))
        self._hub.enter(stream)
        watch = asyncio.create_task(_until_left(receive, stream))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send_all(stream, send)
        finally:
            watch.cancel()
            self._hub.leave(stream)

    async def _send_all(self, stream: Stream, send: Send) -> None:
        try:
            async with aclosing(self._hub.follow(stream, self._after)) as chunks:
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except (StoreUnavailable, StoreRefused) as error:
            log.warning("stream_ended", reason=error.detail)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def remember_connection(scope: AsgiScope, send: Send) -> None:
    """Keep the way to the connection itself, before middleware hides it.

    ASGI knows no way to drop a connection whose reader takes nothing: uvicorn would wait until it
    does, at shutdown too. Where a server has no transport to show, such a reader is only forgotten.
    """
    scope[_CONNECTION] = getattr(getattr(send, "__self__", None), "transport", None)


def _abort_of(scope: AsgiScope) -> Callable[[], None]:
    abort: Callable[[], None] | None = getattr(scope.get(_CONNECTION), "abort", None)
    return abort or (lambda: None)


async def _until_left(receive: Receive, stream: Stream) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.end()


def _last_seen(request: Request) -> int | None:
    """The place that a reader who reconnects goes on after. Raises Invalid where it is none."""
    text = request.headers.get(LAST_EVENT_ID)
    if not text:  # as some readers write that they have seen none
        return None
    try:
        return event_number(text)
    except ValueError as error:
        fault = FieldError(LAST_EVENT_ID, str(error))
        raise Invalid("A header is at fault", errors=(fault,)) from None


async def _place(feed: FeedStore, name: str, number: int | None) -> int | None:
    """The place in the log that a cursor names. Raises Conflict where the log does not reach there:
    after a restore from a backup, say.
    """
    if number and not await feed.was_given(number):
        fault = FieldError(name, "there is no such event yet; was the database restored?")
        raise Conflict("The log of events does not reach as far as that", errors=(fault,))
    return number


async def _view(feed: FeedStore, caller: Caller, values: Mapping[str, Any]) -> View:
    message_id = None
    if "message" in values:
        message_id = await feed.message_named(values["message"], app=caller.sees)
        if message_id is None:
            raise NotFound("There is no message with this id")
    statuses = values.get("status", frozenset())
    return View(caller.sees, message_id, statuses, values.get("reference"))


def _webhook(text: str) -> UUID:
    return read_uuid(text, "webhook")
