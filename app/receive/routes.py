"""``/v1/receipts/rejected``: what `dlr receipts` does, over the API.

The caller holds a key with the scope ``admin``, and sees all.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from app.receive.models import (
    RejectedCall,
    RejectedPage,
    RejectedQuery,
    ReplayQuery,
    ReplayResult,
)
from app.receive.rejected import replay, show
from app.record.audit import Auditor
from app.store.receipts import ReceiptStore
from app.web.actor import TheActor
from app.web.caller import AdminCaller
from app.web.problems import BODY_ERRORS, problems
from app.web.routing import KeyedRoute
from app.web.state import from_state

router = APIRouter(
    route_class=KeyedRoute, prefix="/v1/receipts/rejected", tags=["rejected receipts"]
)


Store = Annotated[ReceiptStore, from_state("rejected")]
TheAuditor = Annotated[Auditor, from_state("auditor")]


@router.get("", summary="Calls to /dlr that were not understood", responses=problems())
async def list_rejected(
    asked: Annotated[RejectedQuery, Query()],
    _caller: AdminCaller,
    store: Store,
    actor: TheActor,
    auditor: TheAuditor,
) -> RejectedPage:
    """Word for word, with the reason, oldest first."""
    await auditor.saw_rejected(actor)
    found = await store.rejected(
        limit=asked.limit, after=asked.cursor, include_replayed=asked.replayed
    )
    end = str(found[-1].arrival.id) if len(found) == asked.limit else None
    calls = [RejectedCall.model_validate(show(kept)) for kept in found]
    return RejectedPage(rejected=calls, next=end)


@router.post(
    "/replay", summary="Replay rejected calls, after a fix", responses=problems(*BODY_ERRORS)
)
async def replay_rejected(
    asked: Annotated[ReplayQuery, Query()], _caller: AdminCaller, store: Store, actor: TheActor
) -> ReplayResult:
    """The oldest first. What is understood now is stored with the time at which it first came; the
    rest stays rejected.
    """
    outcome = await replay(store, limit=asked.limit, actor=actor)
    return ReplayResult(tried=outcome.tried, stored=outcome.stored)
