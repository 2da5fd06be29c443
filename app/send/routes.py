"""The routes that send. The caller holds a key with the scope ``send``; its JSON may be anything.

Once a request is on the wire no failure of ours answers 5xx: the caller would send it again.
"""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from app.auth import Authenticator, CurrentCaller, Scope, secured_router
from app.errors import FieldError, Invalid, NotFound, Refused
from app.model.status import Status
from app.send.idempotency import HEADER, REPLAYED, read_key
from app.send.requests import SendRequest
from app.send.sender import Answered, Sender
from app.send.submitter import Sent
from app.web import problem, read_json

LARGEST_BATCH = 1_000


def send_routes(*, sender: Sender, authenticator: Authenticator) -> APIRouter:
    """``POST /v1/messages`` and what rides on the same queue."""
    router = secured_router(authenticator, Scope.SEND, tags=["send"])

    @router.post("/v1/messages", status_code=201, openapi_extra=_BODY, summary="Send one message")
    async def send(request: Request, caller: CurrentCaller) -> Response:
        """201 with iovox's id, or 202 while it is QUEUED or UNCONFIRMED."""
        body = await read_json(request)
        key = read_key(request.headers.get(HEADER), "send", body)
        return _response(await sender.send(caller.app, body, key))

    @router.post("/v1/messages/batch", status_code=202, summary="Queue up to 1,000 messages")
    async def send_batch(request: Request, caller: CurrentCaller) -> Response:
        """202 with an outcome for each; a bad message does not spoil the others."""
        body = await read_json(request)
        key = read_key(request.headers.get(HEADER), "batch", body)
        answer = await sender.send_batch(caller.app, _messages(body), key)
        headers = {REPLAYED: "true"} if answer.replayed else {}
        return Response(
            answer.body, status_code=202, media_type="application/json", headers=headers
        )

    @router.delete("/v1/messages/{id}", summary="Take back a message that is QUEUED")
    async def cancel(id: str, caller: CurrentCaller) -> Response:  # noqa: A002
        """200 with the status CANCELLED; 409 where it is beyond that."""
        cancelled = await sender.cancel(caller.sees, _uuid(id))
        return JSONResponse({"id": str(cancelled), "status": Status.CANCELLED})

    @router.post(
        "/v1/messages/{id}/resend", status_code=201, summary="Deliberately send a text again"
    )
    async def resend(id: str, request: Request, caller: CurrentCaller) -> Response:  # noqa: A002
        """A new message with ``resend_of``; answers like a send."""
        key = read_key(request.headers.get(HEADER), f"resend {id}", None)
        return _response(await sender.resend(caller.sees, _uuid(id), key))

    return router


_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": SendRequest.model_json_schema()}},
    }
}


def _messages(body: object) -> list[object]:
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(messages, list) or not 1 <= len(messages) <= LARGEST_BATCH:
        fault = FieldError("messages", f"must be a list of 1 to {LARGEST_BATCH} messages")
        raise Invalid("The batch cannot be read; nothing is stored", errors=(fault,))
    if unknown := sorted(set(body) - {"messages"}) if isinstance(body, dict) else []:
        faults = tuple(FieldError(name, "is not a field of this request") for name in unknown)
        raise Invalid("The batch cannot be read; nothing is stored", errors=faults)
    return messages


def _uuid(name: str) -> UUID:
    try:
        return UUID(name)
    except ValueError:
        raise NotFound("There is no message with this id") from None


def _response(answered: Answered) -> Response:
    sent = answered.sent
    headers = {"Location": f"/v1/messages/{sent.message_id}"}
    if answered.replayed:
        headers[REPLAYED] = "true"
    if sent.status is Status.REJECTED:
        return _refused(sent, headers)
    return JSONResponse(
        {
            "id": str(sent.message_id),
            "sms_activity_id": sent.sms_activity_id,
            "status": sent.status,
            "errors": [{"field": e.field, "message": e.message} for e in sent.errors],
        },
        status_code=201 if sent.status is Status.SUBMITTED else 202,
        headers=headers,
    )


def _refused(sent: Sent, headers: dict[str, str]) -> Response:
    error = Refused(*(fault.message for fault in sent.errors))
    error.errors = sent.errors
    error.headers = headers
    return problem(error, id=str(sent.message_id), status_of_message=sent.status)
