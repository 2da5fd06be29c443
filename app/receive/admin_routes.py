"""``/v1/receipts/rejected``. The caller holds a key with the scope ``admin``, and sees all."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from app.auth import Authenticator, CurrentCaller, Scope, secured_router
from app.errors import FieldError, Invalid
from app.openapi import problems
from app.receive.rejected import replay, show
from app.store.receipts import ReceiptStore
from app.web import only_parameters

PATH = "/v1/receipts/rejected"
LARGEST_PAGE = 500
LARGEST_REPLAY = 10_000

_RESPONSES: dict[str, Any] = {"responses": problems(Invalid)}


def admin_routes(*, store: ReceiptStore, authenticator: Authenticator) -> APIRouter:
    """What `dlr receipts` does, over the API."""
    router = secured_router(authenticator, Scope.ADMIN, tags=["rejected receipts"])

    @router.get(PATH, summary="Calls to /dlr that were not understood", **_RESPONSES)
    async def rejected(
        request: Request,
        _caller: CurrentCaller,
        cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 100,
        replayed: Annotated[bool, Query(description="also those that are receipts by now")] = False,
    ) -> JSONResponse:
        """Word for word, with the reason, oldest first. ``next`` is null on the last page."""
        only_parameters(request, "cursor", "limit", "replayed")
        found = await store.rejected(limit=limit, after=_cursor(cursor), include_replayed=replayed)
        end = str(found[-1].arrival.id) if len(found) == limit else None
        return JSONResponse({"rejected": [show(kept) for kept in found], "next": end})

    @router.post(f"{PATH}/replay", summary="Put them through again, after a fix", **_RESPONSES)
    async def replay_rejected(
        request: Request,
        _caller: CurrentCaller,
        limit: Annotated[int, Query(ge=1, le=LARGEST_REPLAY)] = 1_000,
    ) -> JSONResponse:
        """The oldest first. What is understood now is stored with the time it first came; the rest
        stays rejected.
        """
        only_parameters(request, "limit")
        outcome = await replay(store, limit=limit)
        return JSONResponse({"tried": outcome.tried, "stored": outcome.stored})

    return router


def _cursor(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        fault = FieldError("cursor", "is not one that this service gave")
        raise Invalid("A parameter is at fault", errors=(fault,)) from None
