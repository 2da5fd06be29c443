"""``GET /v1/messages/{id}``. The caller holds a key; another app's message does not exist to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from app.auth import Authenticator, Caller, CurrentCaller, Scope, secured_router
from app.errors import NotFound
from app.lookup.history import describe
from app.model.message import Record
from app.store.history import HistoryStore


def lookup_routes(
    *, store: HistoryStore, authenticator: Authenticator, patience: timedelta
) -> APIRouter:
    """The routes that read. ``patience``: when a message without expiry counts as overdue."""
    router = secured_router(authenticator, Scope.READ, tags=["look up"])

    @router.get("/v1/messages/{id}", summary="What became of one message")
    async def message(id: str, caller: CurrentCaller) -> JSONResponse:  # noqa: A002
        """By our id or by iovox's ``sms_activity_id``, with its whole history."""
        record = await find(store, id, caller)
        return JSONResponse(describe(record, now=datetime.now(UTC), patience=patience))

    return router


async def find(store: HistoryStore, name: str, caller: Caller) -> Record:
    """The record that this id names, by either kind. Raises NotFound, also for another app's."""
    record = None
    if message_id := _uuid(name):
        record = await store.by_message_id(message_id)
    if record is None and "\x00" not in name:
        record = await store.by_sms_activity_id(name)
    if record is None or not _visible(record, caller):
        raise NotFound("There is no message with this id")
    return record


def _visible(record: Record, caller: Caller) -> bool:
    if caller.is_admin:
        return True
    return record.message is not None and record.message.app == caller.app


def _uuid(name: str) -> UUID | None:
    """Only the canonical form is one of our ids; anything else may be iovox's."""
    try:
        found = UUID(name)
    except ValueError:
        return None
    return found if str(found) == name.lower() else None
