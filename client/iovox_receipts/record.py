"""The audit and erasures, for keys with the scope admin: who did what, and what was erased."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from iovox_receipts.calls import Call, Caller, understood
from iovox_receipts.filters import params
from iovox_receipts.models import Json, moment
from iovox_receipts.paths import segment

AUDIT, ERASURES = "/v1/audit", "/v1/erasures"


@dataclass(frozen=True, slots=True)
class Audited:
    """One entry of the audit. ``who`` is ``key:ID``, ``os:user@host``, ``person:NAME`` or
    ``nobody``; ``what`` is the id of what it was done to. ``times``: how many requests it counts.
    """

    id: str
    at: datetime
    who: str
    app: str | None
    address: str | None
    action: str
    what: str | None
    times: int
    destination: str | None = field(default=None, repr=False)
    reference: str | None = field(default=None, repr=False)
    details: Json = field(default_factory=dict, repr=False)
    raw: Json = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure of a number. ``completed_at`` is None until every process has confirmed that it is
    erased on its disk. ``digest`` is the number's, under the service's DLR_ERASURE_KEY.
    """

    id: str
    requested_at: datetime
    who: str
    digest: str | None
    counts: Json
    erased_at: datetime | None
    completed_at: datetime | None
    raw: Json = field(default_factory=dict, repr=False, compare=False)


class AsyncRecord:
    """``client.record``, each call within the client's patience."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def audit(
        self,
        *,
        who: str | None = None,
        action: str | None = None,
        what: str | None = None,
        from_: datetime | None = None,
        to: datetime | None = None,
    ) -> AsyncIterator[Audited]:
        """Who did what, newest first. ``who`` is an actor or an app."""
        cursor: str | None = None
        filters = {"who": who, "action": action, "what": what, "from_": from_, "to": to}
        while True:
            query = params({"limit": 500, "cursor": cursor, **filters})
            response = await self._caller.ask(Call("GET", AUDIT, params=query))
            with understood(response):
                body = response.json()
                found = [_audited(one) for one in body["entries"]]
                cursor = body["next"]
            for one in found:
                yield one
            if cursor is None:
                return

    async def erase(self, destination: str) -> Erasure:
        """Erase a number wherever it is stored. Raises Conflict while a message to it is being
        sent, and Invalid for a number that cannot be read.

        A second erasure of the same number finds nothing left to erase.
        """
        return self._one(
            await self._caller.ask(Call("POST", ERASURES, {"destination": destination}))
        )

    async def erasure(self, erasure_id: str) -> Erasure:
        """An erasure by its id, such as to see whether it is complete."""
        path = f"{ERASURES}/{segment(erasure_id)}"
        return self._one(await self._caller.ask(Call("GET", path)))

    def _one(self, response: httpx.Response) -> Erasure:
        with understood(response):
            return _erasure(response.json())


def _audited(raw: dict[str, Any]) -> Audited:
    return Audited(
        id=raw["id"],
        at=datetime.fromisoformat(raw["at"]),
        who=raw["who"],
        app=raw["app"],
        address=raw["address"],
        action=raw["action"],
        what=raw["what"],
        times=raw["times"],
        destination=raw["destination"],
        reference=raw["reference"],
        details=raw["details"],
        raw=raw,
    )


def _erasure(raw: dict[str, Any]) -> Erasure:
    return Erasure(
        id=raw["id"],
        requested_at=datetime.fromisoformat(raw["requested_at"]),
        who=raw["who"],
        digest=raw["digest"],
        counts=raw["counts"],
        erased_at=moment(raw["erased_at"]),
        completed_at=moment(raw["completed_at"]),
        raw=raw,
    )
