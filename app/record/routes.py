"""``/v1/audit`` and ``/v1/erasures``. The caller holds a key with the scope ``admin``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.errors import Conflict, NotFound
from app.model.audit import AuditFilter
from app.record.audit import Auditor
from app.record.audit_models import AuditPage, AuditQuery, audited
from app.record.erasure import Eraser
from app.record.erasure_models import Erasure, ErasureRequest, shown_erasure
from app.web.actor import TheActor
from app.web.caller import AdminCaller
from app.web.paths import ErasureId
from app.web.problems import BODY_ERRORS, Responses, headers, problems
from app.web.routing import KeyedRoute
from app.web.state import from_state

router = APIRouter(route_class=KeyedRoute, tags=["record"])

TheAuditor = Annotated[Auditor, from_state("auditor")]
TheEraser = Annotated[Eraser, from_state("eraser")]

_TAKEN: Responses = {
    202: {"description": "Recorded; it is done at once", "headers": headers("Location")}
}


@router.get("/v1/audit", summary="Who did what, newest first", responses=problems())
async def list_audit(
    asked: Annotated[AuditQuery, Query()], _caller: AdminCaller, auditor: TheAuditor
) -> AuditPage:
    """Looks of people, and whatever changed something. Sends, receipts and apps' own reads leave
    no entry.
    """
    wanted = AuditFilter(asked.who, asked.action, asked.what, asked.from_, asked.to)
    found = await auditor.page(wanted, before=asked.cursor, limit=asked.limit)
    end = str(found[-1].id) if len(found) == asked.limit else None
    return AuditPage(entries=[audited(entry) for entry in found], next=end)


@router.post(
    "/v1/erasures",
    status_code=202,
    summary="Erase a number",
    responses=_TAKEN | problems(Conflict, *BODY_ERRORS, retry_after=409),
)
async def erase_number(
    asked: ErasureRequest,
    _caller: AdminCaller,
    eraser: TheEraser,
    actor: TheActor,
    response: Response,
) -> Erasure:
    """As a destination, with its texts, references and receipts' bodies, wherever they are. Counts,
    statuses and times stay. What is QUEUED is cancelled; while one is being sent it is 409.
    """
    erasure = await eraser.request(asked.destination, actor)
    response.headers["Location"] = f"/v1/erasures/{erasure.id}"
    return shown_erasure(erasure)


@router.get("/v1/erasures/{id}", summary="How far one has come", responses=problems(NotFound))
async def look_up_erasure(id: ErasureId, _caller: AdminCaller, eraser: TheEraser) -> Erasure:
    """`completed_at` is null until every process has confirmed for its disk."""
    return shown_erasure(await eraser.find(id))
