"""Audits what people do at the console, before anything is shown to them.

Whoever uses it counts as a person, also with an app's key: each look and search leaves an entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from fastapi import Request

from app.model.audit import Action, Actor
from app.model.search import Search
from app.record.audit import Auditor
from app.web.actor import where_of
from app.web.caller import Caller
from app.web.failures import Failures


def actor_of(request: Request) -> Actor:
    """Who is signed in, and from where."""
    session = request.state.session
    caller: Caller = request.state.caller
    where = where_of(request)
    if session.person is not None:
        return Actor(f"person:{session.person}", None, where)
    return Actor(f"key:{caller.key_id}", caller.app, where)


class Recording:
    """Each method raises Unavailable where it cannot be recorded: nothing is shown then."""

    def __init__(self, auditor: Auditor, failures: Failures) -> None:
        self._auditor = auditor
        self._failures = failures

    async def looked(
        self, request: Request, ids: Sequence[UUID | str], *, revealed: bool = False
    ) -> None:
        """Somebody is about to be shown these messages; ``revealed``: with their texts."""
        await self._auditor.looked(actor_of(request), ids, revealed=revealed)

    async def searched(self, request: Request, search: Search) -> None:
        """Somebody is about to be shown what this finds."""
        await self._auditor.searched(actor_of(request), search)

    async def exported(self, request: Request, search: Search) -> None:
        """Somebody is about to be given a file of what this finds."""
        await self._auditor.exported(
            actor_of(request), search, kind="text/csv", limit=None, revealed=False
        )

    async def saw_rejected(self, request: Request) -> None:
        """Somebody is about to be shown rejected calls, word for word."""
        await self._auditor.saw_rejected(actor_of(request))

    async def signed(self, actor: Actor, action: Action) -> None:
        """Somebody signs in or out."""
        await self._auditor.did(actor, action)

    def failed(self, request: Request) -> None:
        """Somebody could not sign in: counted for each address and minute."""
        self._failures.count_unknown(where_of(request))

    async def refused(self, request: Request) -> None:
        """Somebody asked for a page that they may not see."""
        route = request.scope["route"].path  # what is typed into an address may be a number
        await self._failures.count_refused(actor_of(request), f"{request.method} {route}")
