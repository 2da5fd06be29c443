"""``/v1/webhooks``: subscriptions, tests of them, their deliveries, and replays.

Reading takes a key with the scope ``read`` or ``support``, changing one with ``webhooks``; another
app's webhook is answered as one that does not exist.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from app.errors import Conflict, NotFound
from app.web.actor import TheActor
from app.web.caller import ReadCaller, WebhooksCaller
from app.web.paths import DeliveryId, WebhookId
from app.web.problems import BODY_ERRORS, Responses, headers, problems
from app.web.routing import KeyedRoute
from app.web.security import NO_STORE
from app.web.state import from_state
from app.webhooks.requests import DeliveryQuery, NewWebhook, ReplayRequest, WebhookChange
from app.webhooks.responses import (
    AlarmEvent,
    Delivery,
    DeliveryPage,
    MessageErased,
    MessageEvent,
    Replayed,
    TestEvent,
    Webhook,
    WebhookList,
    WebhookWithSecret,
    shown,
    shown_delivery,
    shown_with_secret,
)
from app.webhooks.subscriptions import Subscriptions

router = APIRouter(route_class=KeyedRoute, prefix="/v1/webhooks", tags=["webhooks"])
payloads = APIRouter()
"""What receivers are sent, for the document's `webhooks`."""


TheSubscriptions = Annotated[Subscriptions, from_state("subscriptions")]

_CREATED: Responses = {
    201: {
        "description": "With its secret, which is never shown again",
        "headers": headers("Location", "Cache-Control"),
    }
}


@router.post(
    "",
    status_code=201,
    summary="Subscribe to events",
    responses=_CREATED | problems(Conflict, *BODY_ERRORS),
)
async def create_webhook(
    asked: NewWebhook,
    caller: WebhooksCaller,
    subscriptions: TheSubscriptions,
    actor: TheActor,
    response: Response,
) -> WebhookWithSecret:
    """To what happens from now on."""
    webhook = await subscriptions.create(
        asked, sees=caller.changes, key_id=caller.key_id, actor=actor
    )
    response.headers["Location"] = f"/v1/webhooks/{webhook.id}"
    response.headers.update(NO_STORE)
    return shown_with_secret(webhook)


@router.get("", summary="List webhooks, oldest first", responses=problems())
async def list_webhooks(caller: ReadCaller, subscriptions: TheSubscriptions) -> WebhookList:
    """An app's own; support and admins see every app's."""
    found = await subscriptions.all(sees=caller.sees)
    return WebhookList(webhooks=[shown(webhook) for webhook in found])


@router.get("/{id}", summary="Look up a webhook", responses=problems(NotFound))
async def look_up_webhook(
    id: WebhookId,
    caller: ReadCaller,
    subscriptions: TheSubscriptions,
) -> Webhook:
    """Whether it works, and why not."""
    return shown(await subscriptions.find(id, sees=caller.sees))


@router.patch(
    "/{id}",
    summary="Change a webhook's URL or statuses; pause or resume it",
    responses=problems(NotFound, Conflict, *BODY_ERRORS),
)
async def change_webhook(
    id: WebhookId,
    asked: WebhookChange,
    caller: WebhooksCaller,
    subscriptions: TheSubscriptions,
    actor: TheActor,
) -> Webhook:
    """While it is paused nothing is sent and nothing is lost."""
    return shown(await subscriptions.change(id, asked, sees=caller.changes, actor=actor))


@router.delete(
    "/{id}",
    status_code=204,
    response_class=Response,
    summary="Delete a webhook and its deliveries",
    responses=problems(NotFound),
)
async def delete_webhook(
    id: WebhookId,
    caller: WebhooksCaller,
    subscriptions: TheSubscriptions,
    actor: TheActor,
) -> None:
    """Nothing more is sent."""
    await subscriptions.remove(id, sees=caller.changes, actor=actor)


@router.post(
    "/{id}/secret", summary="Rotate the secret", responses=problems(NotFound, *BODY_ERRORS)
)
async def rotate_webhook_secret(
    id: WebhookId,
    caller: WebhooksCaller,
    subscriptions: TheSubscriptions,
    actor: TheActor,
    response: Response,
) -> WebhookWithSecret:
    """Deliveries are signed with both for a day, so that there is time to change over."""
    response.headers.update(NO_STORE)
    return shown_with_secret(await subscriptions.rotate(id, sees=caller.changes, actor=actor))


@router.post(
    "/{id}/test",
    status_code=202,
    summary="Send a test event",
    responses=problems(NotFound, *BODY_ERRORS, Conflict),
)
async def send_test_event(
    id: WebhookId,
    caller: WebhooksCaller,
    subscriptions: TheSubscriptions,
    actor: TheActor,
) -> Delivery:
    """202 with a delivery; look it up a moment later for its result."""
    sent = await subscriptions.test(id, sees=caller.changes, actor=actor)
    return shown_delivery(sent, responses=caller.is_admin)


@router.get(
    "/{id}/deliveries",
    summary="List a webhook's deliveries, newest first",
    responses=problems(NotFound),
)
async def list_deliveries(
    id: WebhookId,
    asked: Annotated[DeliveryQuery, Query()],
    caller: ReadCaller,
    subscriptions: TheSubscriptions,
) -> DeliveryPage:
    """With the state and the attempts of each."""
    page = await subscriptions.deliveries(
        id, sees=caller.sees, state=asked.state, below=asked.cursor, limit=asked.limit
    )
    end = str(page[-1].id) if len(page) == asked.limit else None
    shown = [shown_delivery(each, responses=caller.is_admin) for each in page]
    return DeliveryPage(deliveries=shown, next=end)


@router.get(
    "/{id}/deliveries/{delivery_id}", summary="Look up a delivery", responses=problems(NotFound)
)
async def look_up_delivery(
    id: WebhookId,
    delivery_id: DeliveryId,
    caller: ReadCaller,
    subscriptions: TheSubscriptions,
) -> Delivery:
    """With its payload, its state and its attempts."""
    found = await subscriptions.delivery(id, delivery_id, sees=caller.sees)
    return shown_delivery(found, responses=caller.is_admin)


@router.post(
    "/{id}/deliveries/{delivery_id}/replay",
    status_code=202,
    summary="Replay a delivery",
    responses=problems(NotFound, *BODY_ERRORS, Conflict),
)
async def replay_delivery(
    id: WebhookId,
    delivery_id: DeliveryId,
    caller: WebhooksCaller,
    subscriptions: TheSubscriptions,
    actor: TheActor,
) -> Delivery:
    """It is sent again under the same `webhook-id`, whatever its state."""
    again = await subscriptions.replay(id, delivery_id, sees=caller.changes, actor=actor)
    return shown_delivery(again, responses=caller.is_admin)


@router.post(
    "/{id}/replay",
    status_code=202,
    summary="Replay many deliveries",
    responses=problems(NotFound, Conflict, *BODY_ERRORS),
)
async def replay_deliveries(
    id: WebhookId,
    asked: ReplayRequest,
    caller: WebhooksCaller,
    subscriptions: TheSubscriptions,
    actor: TheActor,
) -> Replayed:
    """In order. Where `next` is not null there are more: ask again with it as `after`."""
    count, end = await subscriptions.replay_range(
        id, asked.bounds(), sees=caller.changes, actor=actor
    )
    return Replayed(replayed=count, next=end)


DeliveryHeader = Annotated[
    str, Header(alias="webhook-id", description="The delivery's id, however often it is sent")
]
TimeHeader = Annotated[
    str, Header(alias="webhook-timestamp", description="When it is sent, in seconds since 1970")
]
SignatureHeader = Annotated[
    str,
    Header(
        alias="webhook-signature",
        description="`v1,` and base64 of an HMAC-SHA256; two, separated by a space, for a day "
        "after the secret was replaced",
    ),
]


@payloads.post("message", summary="A message's status has changed")
async def message_event(
    event: MessageEvent, id: DeliveryHeader, time: TimeHeader, signature: SignatureHeader
) -> None:
    """Signed by the Standard Webhooks specification; any 2xx takes it, and 410 ends the webhook."""


@payloads.post("alarm", summary="An alarm has begun or ended")
async def alarm_event(
    event: AlarmEvent, id: DeliveryHeader, time: TimeHeader, signature: SignatureHeader
) -> None:
    """For an admin's webhook over all apps. Sent and signed like any other."""


@payloads.post("test", summary="A test was asked for")
async def test_event(
    event: TestEvent, id: DeliveryHeader, time: TimeHeader, signature: SignatureHeader
) -> None:
    """Sent and signed like any other."""


@payloads.post("erased", summary="A message was erased")
async def message_erased(
    event: MessageErased, id: DeliveryHeader, time: TimeHeader, signature: SignatureHeader
) -> None:
    """Delete its number, text and reference. Every webhook of its app gets this event."""
