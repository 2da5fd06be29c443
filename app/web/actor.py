"""Who acts, as the audit names them: from the caller that `app.web.routing` has authenticated."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from app.model.audit import Actor
from app.parts.networks import Address
from app.web.addresses import Callers
from app.web.caller import Caller


def actor_of(request: Request) -> Actor:
    """The key, the app and the address of this request's caller."""
    caller: Caller = request.state.caller
    return Actor(f"key:{caller.key_id}", caller.app, where_of(request))


def address_of(request: Request) -> Address | None:
    """The caller's address, seen through trusted proxies."""
    callers: Callers = request.app.state.callers
    peer = request.client
    return callers.address(peer.host if peer else None, request.scope["headers"])


def where_of(request: Request) -> str | None:
    """``address_of`` as text."""
    address = address_of(request)
    return None if address is None else str(address)


async def _actor(request: Request) -> Actor:
    return actor_of(request)


TheActor = Annotated[Actor, Depends(_actor)]
