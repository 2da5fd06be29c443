"""The pages about webhooks: all of them, one with its deliveries, and one delivery."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.console.guard import READERS, ConsoleRoute, allows
from app.console.message_view import pretty
from app.console.pages import PATH, address, read_id, render
from app.console.recording import actor_of
from app.model.api_key import Scope
from app.model.webhook import Webhook, WebhookState
from app.web.caller import Caller
from app.webhooks.requests import WebhookChange
from app.webhooks.subscriptions import Subscriptions

router = APIRouter(prefix=PATH, route_class=ConsoleRoute, include_in_schema=False)

SHOWN = 50


@router.get("/webhooks")
@allows(*READERS)
async def webhooks(request: Request) -> Response:
    """Every webhook that this caller may see."""
    found = await _subscriptions(request).all(sees=request.state.caller.sees)
    return render(request, "webhooks.html", webhooks=found, place="Webhooks")


@router.get("/webhooks/{id}")
@allows(*READERS)
async def webhook(request: Request, id: str) -> Response:
    """One, with what it was sent, newest first."""
    caller: Caller = request.state.caller
    subscriptions = _subscriptions(request)
    found = await subscriptions.find(read_id(id), sees=caller.sees)
    cursor = request.query_params.get("cursor")
    page = await subscriptions.deliveries(
        found.id,
        sees=caller.sees,
        state=None,
        below=read_id(cursor) if cursor else None,
        limit=SHOWN + 1,
    )
    more = len(page) > SHOWN
    following = (
        address(request, f"/webhooks/{id}", cursor=str(page[SHOWN - 1].id)) if more else None
    )
    return render(
        request,
        "webhook.html",
        webhook=found,
        deliveries=page[:SHOWN],
        next=following,
        can_change=_may_change(caller, found),
        done=request.query_params.get("done"),
        place="Webhooks",
    )


@router.post("/webhooks/{id}/pause")
@allows(Scope.WEBHOOKS)
async def pause(request: Request, id: str) -> Response:
    """Nothing is sent until it is resumed; nothing is lost."""
    return await _set_paused(request, id, paused=True)


@router.post("/webhooks/{id}/resume")
@allows(Scope.WEBHOOKS)
async def resume(request: Request, id: str) -> Response:
    """What has waited is sent, oldest first."""
    return await _set_paused(request, id, paused=False)


@router.post("/webhooks/{id}/test")
@allows(Scope.WEBHOOKS)
async def test(request: Request, id: str) -> Response:
    """Send a test event."""
    added = await _subscriptions(request).test(
        read_id(id), sees=request.state.caller.changes, actor=actor_of(request)
    )
    return _back(request, f"/webhooks/{id}/{added.id}", "test")


@router.get("/webhooks/{id}/{delivery_id}")
@allows(*READERS)
async def delivery(request: Request, id: str, delivery_id: str) -> Response:
    """What was sent, and what came of it."""
    caller: Caller = request.state.caller
    subscriptions = _subscriptions(request)
    hook = await subscriptions.find(read_id(id), sees=caller.sees)
    found = await subscriptions.delivery(read_id(id), read_id(delivery_id), sees=caller.sees)
    return render(
        request,
        "delivery.html",
        webhook=hook,
        delivery=found,
        body=pretty(found.body),
        shows_responses=caller.is_admin,
        can_change=_may_change(caller, hook),
        done=request.query_params.get("done"),
        place="Webhooks",
    )


@router.post("/webhooks/{id}/{delivery_id}/replay")
@allows(Scope.WEBHOOKS)
async def replay(request: Request, id: str, delivery_id: str) -> Response:
    """Send it again, under the same id."""
    await _subscriptions(request).replay(
        read_id(id),
        read_id(delivery_id),
        sees=request.state.caller.changes,
        actor=actor_of(request),
    )
    return _back(request, f"/webhooks/{id}/{delivery_id}", "replayed")


async def _set_paused(request: Request, id: str, *, paused: bool) -> Response:
    await _subscriptions(request).change(
        read_id(id),
        WebhookChange(paused=paused),
        sees=request.state.caller.changes,
        actor=actor_of(request),
    )
    return _back(request, f"/webhooks/{id}", "paused" if paused else "resumed")


def _back(request: Request, path: str, done: str) -> Response:
    request.app.state.console.forget_badges()
    return RedirectResponse(address(request, path, done=done), 303)


def _may_change(caller: Caller, webhook: Webhook) -> bool:
    is_open = webhook.state is not WebhookState.ENDED
    is_own = caller.changes is None or caller.changes == webhook.app
    return caller.has_any({Scope.WEBHOOKS}) and is_own and is_open


def _subscriptions(request: Request) -> Subscriptions:
    found: Subscriptions = request.app.state.subscriptions
    return found
