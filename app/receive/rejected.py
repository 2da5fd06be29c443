"""Rejected calls: authenticated, not stored as receipts. They are listed and can be replayed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from app.errors import StoreUnavailable
from app.model.audit import Action, Actor
from app.model.event import rfc3339
from app.model.receipt import Receipt, interpret
from app.store.receipts import KeptRejection, ReceiptStore

PAGE = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Replayed:
    """The result of a replay: how many calls were tried, and how many are receipts now."""

    tried: int
    stored: int


async def replay(store: ReceiptStore, *, limit: int, actor: Actor) -> Replayed:
    """Process rejected calls again, the oldest first; those that still fail stay rejected.

    Each keeps its arrival id and its received_at, so replaying twice counts nothing twice. Raises
    StoreUnavailable; what was stored until then stays stored.
    """
    tried = stored = 0
    after: UUID | None = None
    while tried < limit:
        page = await store.rejected(limit=min(PAGE, limit - tried), after=after)
        if not page:
            break
        for kept in page:
            stored += await _replay_one(store, kept, actor)
        tried += len(page)
        after = page[-1].arrival.id
    return Replayed(tried, stored)


async def _replay_one(store: ReceiptStore, kept: KeptRejection, actor: Actor) -> bool:
    call = interpret(kept.arrival)
    if not isinstance(call, Receipt):
        return False
    try:
        entry = actor.did(Action.REPLAY_REJECTED, kept.arrival.id)
        await store.replayed(call, datetime.now(UTC), entry=entry)
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001  it stays rejected, for whatever reason
        log.warning(
            "receipt_still_rejected", arrival=str(kept.arrival.id), reason=repr(error)[:300]
        )
        return False
    return True


def show(kept: KeptRejection) -> dict[str, Any]:
    """A rejected call for people and machines. Bytes that are no text show as escapes."""
    return {
        "id": str(kept.arrival.id),
        "received_at": rfc3339(kept.arrival.received_at),
        "reason": kept.reason,
        "body": kept.arrival.body.decode("utf-8", "backslashreplace"),
        "replayed_at": rfc3339(kept.replayed_at) if kept.replayed_at else None,
    }
