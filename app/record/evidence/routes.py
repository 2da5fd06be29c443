"""``/v1/evidence``, for any valid key, and a message's evidence, for its own app and for admins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.errors import Conflict, NotFound, Unavailable
from app.record.audit import Auditor
from app.record.evidence.answers import (
    CheckpointPage,
    CheckpointsQuery,
    ConsistencyProof,
    ConsistencyQuery,
    EvidenceQuery,
    Keys,
    LogKeys,
    SignedCheckpoint,
    checkpoint_response,
)
from app.record.evidence.models import Evidence
from app.record.evidence.service import EvidenceService
from app.web.actor import TheActor
from app.web.caller import AnyCaller, OwnReadCaller
from app.web.paths import OWNED_MESSAGE_ID
from app.web.problems import problems
from app.web.routing import KeyedRoute
from app.web.state import from_state

router = APIRouter(route_class=KeyedRoute, tags=["evidence"])


async def the_evidence_service(request: Request) -> EvidenceService:
    """Raises Conflict where there is no log."""
    service: EvidenceService | None = request.app.state.evidence
    if service is None:
        raise Conflict("There is no evidence log: DLR_EVIDENCE_KEY_FILE is not set")
    return service


TheEvidenceService = Annotated[EvidenceService, Depends(the_evidence_service)]
TheAuditor = Annotated[Auditor, from_state("auditor")]


@router.get(
    "/v1/evidence/checkpoint",
    summary="A checkpoint of the log as it is",
    responses=problems(Conflict, Unavailable),
)
async def get_checkpoint(_caller: AnyCaller, service: TheEvidenceService) -> SignedCheckpoint:
    """Signed for this request, if there is anything new. Keep it: later ones must agree with it."""
    return checkpoint_response(await service.checkpoint())


@router.get(
    "/v1/evidence/checkpoints",
    summary="All checkpoints, oldest first",
    responses=problems(Conflict, Unavailable),
)
async def list_checkpoints(
    asked: Annotated[CheckpointsQuery, Query()], _caller: AnyCaller, service: TheEvidenceService
) -> CheckpointPage:
    """Those of earlier origins too."""
    rows = await service.checkpoints(asked.cursor, asked.limit)
    end = f"{rows[-1].log}.{rows[-1].size}" if len(rows) == asked.limit else None
    return CheckpointPage(checkpoints=[checkpoint_response(row) for row in rows], next=end)


@router.get(
    "/v1/evidence/consistency",
    summary="That the log only grew between two sizes",
    responses=problems(Conflict, NotFound, Unavailable),
)
async def get_consistency(
    asked: Annotated[ConsistencyQuery, Query()], _caller: AnyCaller, service: TheEvidenceService
) -> ConsistencyProof:
    """An RFC 9162 proof; none of its hashes where the sizes are the same."""
    origin, proof = await service.consistency(asked.from_, asked.to, asked.origin)
    return ConsistencyProof.model_validate(
        {
            "origin": origin,
            "from": asked.from_,
            "to": asked.to,
            "proof": [each.hex() for each in proof],
        }
    )


@router.get(
    "/v1/evidence/keys",
    summary="The keys that sign checkpoints",
    responses=problems(Conflict, Unavailable),
)
async def list_keys(_caller: AnyCaller, service: TheEvidenceService) -> Keys:
    """Compare them with what you were given by another way: these are the service's own word."""
    return Keys(
        logs=[
            LogKeys(origin=log.origin, began_at=log.began_at, ended_at=log.ended_at, keys=keys)
            for log, keys in await service.keys()
        ]
    )


@router.get(
    f"/v1/messages/{{id:{OWNED_MESSAGE_ID}}}/evidence",
    summary="What proves the history of a message",
    response_model=Evidence,
    responses=problems(Conflict, NotFound, Unavailable),
)
async def get_evidence(
    id: Annotated[str, Path(description="Ours, or iovox's `sms_activity_id`")],
    asked: Annotated[EvidenceQuery, Query()],
    caller: OwnReadCaller,
    service: TheEvidenceService,
    auditor: TheAuditor,
    actor: TheActor,
) -> Response:
    """One document, which `dlr evidence verify` checks without this service. Keep its bytes as they
    are. It holds the text, so it is for the message's app and for admins, and not for `support`.
    """
    data = await service.of_message(id, app=caller.changes, since=asked.since)
    if caller.is_admin:
        await auditor.looked(actor, [id], revealed=False)
    return Response(data, media_type="application/json")
