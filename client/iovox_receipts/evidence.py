"""Evidence of a message's history, as bytes for a verifier (`dlr evidence verify`), and checkpoints
of the log.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx

from iovox_receipts.calls import Call, Caller, understood
from iovox_receipts.models import Json
from iovox_receipts.paths import segment


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The log's size and root hash (hexadecimal). ``note`` is the signed note: keep it."""

    origin: str
    size: int
    root: str
    note: str
    raw: Json = field(default_factory=dict, repr=False, compare=False)


class AsyncEvidence:
    """``client.evidence``. Every method raises Conflict where the service keeps no log."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def document(self, message_id: str, *, since: int | None = None) -> bytes:
        """The evidence of a message, by either id: keep its bytes as they are. ``since``: the size
        of a checkpoint that you have, to which it is to prove consistency.
        """
        path = f"/v1/messages/{segment(message_id)}/evidence"
        query = {} if since is None else {"since": str(since)}
        return (await self._caller.ask(Call("GET", path, params=query))).content

    async def checkpoint(self) -> Checkpoint:
        """A checkpoint of the log as it is now."""
        return _checkpoint(await self._caller.ask(Call("GET", "/v1/evidence/checkpoint")))


def _checkpoint(response: httpx.Response) -> Checkpoint:
    with understood(response):
        raw = response.json()
        return Checkpoint(raw["origin"], raw["size"], raw["root"], raw["note"], raw=raw)
