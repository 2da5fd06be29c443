"""The routes that send. The caller holds a key with the scope ``send``; its JSON is untrusted.

Once a request to iovox is written no failure of ours answers 5xx: the caller would send it again.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError

from app.errors import Conflict, FieldError, Invalid, NotFound, Refused, TooManyRequests
from app.model.status import Status
from app.send import preferences
from app.send.idempotency import HEADER, REPLAYED, Key, KeyedBody, keyed_body
from app.send.requests import (
    BatchRequest,
    ResendRequest,
    SendRequest,
    unread_schedule_faults,
)
from app.send.responses import (
    BatchResponse,
    Cancellation,
    Rejected,
    SendResult,
    SentMessage,
    sent_message,
)
from app.send.sender import Sender
from app.web.body import KIB, Bodies, body_limit
from app.web.caller import SendCaller
from app.web.paths import ANY_MESSAGE_ID, MessageId
from app.web.problems import BODY_ERRORS, Responses, headers, problems
from app.web.routing import KeyedRoute
from app.web.state import from_state


class SendRoute(KeyedRoute):
    """Names a ``send_at`` in the past beside the faults that the model finds in the body.

    The model cannot: a repeated request, whose ``send_at`` has passed, is valid.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of ``KeyedRoute``; its errors about the body are completed."""
        handle = super().get_route_handler()

        async def handle_and_complete(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                sender: Sender = request.app.state.sender
                raise _with_schedule_faults(error, sender) from None

        return handle_and_complete


router = APIRouter(route_class=SendRoute, tags=["send"])


KeyHeader = Annotated[
    Key | None,
    Header(
        alias=HEADER,
        description="One key and one body make one text, for 24 hours: a repetition is answered as "
        f"the first was, with `{REPLAYED}: true`",
    ),
]


async def _idempotency_key(
    request: Request,
    key: KeyHeader = None,
) -> str | None:
    """The key. Raises Invalid if there are several, of which the framework reads one."""
    if len(request.headers.getlist(HEADER)) > 1:
        fault = FieldError(HEADER, "is given more than once")
        raise Invalid("The idempotency key cannot be used", errors=(fault,))
    return key


TheKey = Annotated[str | None, Depends(_idempotency_key)]
TheSender = Annotated[Sender, from_state("sender")]

_TAKEN = headers("Location", REPLAYED)
PreferHeader = Annotated[
    str | None,
    Header(
        alias=preferences.HEADER,
        description=f"`{preferences.RESPOND_ASYNC}` (RFC 7240): queue the message and answer 202 "
        "at once, without waiting for iovox. Other preferences are passed over",
    ),
]

_RESPONSES: Responses = {
    201: {"description": "iovox accepted it", "headers": _TAKEN},
    202: {
        "description": "QUEUED: sent later; or UNCONFIRMED: iovox may have it",
        "model": SentMessage,
        "headers": _TAKEN,
    },
}
_SEND_RESPONSES: Responses = _RESPONSES | {
    202: {**_RESPONSES[202], "headers": _TAKEN | headers(preferences.APPLIED)}
}
_BATCH_RESPONSES: Responses = {
    202: {"description": "What became of each", "headers": headers(REPLAYED)}
}


@router.post(
    "/v1/messages",
    summary="Send one message",
    status_code=201,
    response_model_exclude_unset=True,
    responses=_SEND_RESPONSES
    | problems(*BODY_ERRORS, Conflict, Refused, TooManyRequests, retry_after=409),
)
async def send(
    message: SendRequest,
    caller: SendCaller,
    sender: TheSender,
    request: Request,
    response: Response,
    idempotency_key: TheKey,
    prefer: PreferHeader = None,
) -> SentMessage:
    """201 with iovox's id, or 202 while it is QUEUED or UNCONFIRMED."""
    key = _keyed(idempotency_key, "send", await request.json())
    # The framework reads the last line of a header that has several.
    queued = prefer is not None and preferences.prefers_async(
        request.headers.getlist(preferences.HEADER)
    )
    sender.rates.take(caller.key_id)
    result = await sender.send(caller.app, message.request(), key, queued=queued)
    if queued and result.submitted.status is Status.QUEUED:
        response.headers[preferences.APPLIED] = preferences.RESPOND_ASYNC
    return _respond(response, result)


@router.post(
    "/v1/messages/batch",
    summary="Queue up to 1,000 messages",
    status_code=202,
    response_model_exclude_unset=True,
    responses=_BATCH_RESPONSES | problems(*BODY_ERRORS, Conflict, TooManyRequests),
)
@body_limit(4096 * KIB)
async def send_batch(
    batch: BatchRequest,
    caller: SendCaller,
    sender: TheSender,
    request: Request,
    response: Response,
    idempotency_key: TheKey,
) -> BatchResponse:
    """202 with an outcome for each; a bad message does not spoil the others."""
    bodies: Bodies = request.app.state.bodies
    body = await request.json()
    key = await bodies.in_thread(_keyed, idempotency_key, "batch", body)
    sender.rates.take(caller.key_id, len(batch.messages))
    result = await sender.send_batch(caller.app, batch.messages, key)
    if result.replayed:
        response.headers[REPLAYED] = "true"
    return result.response


@router.delete(
    f"/v1/messages/{{id:{ANY_MESSAGE_ID}}}",
    summary="Take back a message that is QUEUED",
    responses=problems(NotFound, Conflict),
)
async def cancel(id: MessageId, caller: SendCaller, sender: TheSender) -> Cancellation:
    """200 with the status CANCELLED; 409 where it is beyond that."""
    cancelled = await sender.cancel(caller.changes, id)
    return Cancellation(id=cancelled, status=Status.CANCELLED)


@router.post(
    "/v1/messages/{id}/resend",
    summary="Deliberately send a text again",
    status_code=201,
    response_model_exclude_unset=True,
    responses=_RESPONSES
    | problems(NotFound, *BODY_ERRORS, Conflict, Refused, TooManyRequests, retry_after=409),
)
async def resend(
    id: MessageId,
    caller: SendCaller,
    sender: TheSender,
    response: Response,
    idempotency_key: TheKey,
    _nothing: ResendRequest | None = None,
) -> SentMessage:
    """A new message with `resend_of`; the response is that of a send."""
    key = _keyed(idempotency_key, f"resend {id}", None)
    sender.rates.take(caller.key_id)
    result = await sender.resend(caller.app, caller.changes, id, key)
    return _respond(response, result)


def _respond(response: Response, result: SendResult) -> SentMessage:
    """The body about one message; sets the response's status and headers. Raises Rejected."""
    submitted = result.submitted
    response.status_code = 201 if submitted.status is Status.SUBMITTED else 202
    response.headers["Location"] = f"/v1/messages/{submitted.message_id}"
    if result.replayed:
        response.headers[REPLAYED] = "true"
    if submitted.status is Status.REJECTED:
        raise Rejected(submitted, response.headers)
    return sent_message(submitted, result.message)


def _keyed(key: str | None, operation: str, body: object) -> KeyedBody | None:
    """The idempotency key with what it is used for. Raises BadRequest."""
    return None if key is None else keyed_body(key, operation, body)


def _with_schedule_faults(error: RequestValidationError, sender: Sender) -> RequestValidationError:
    faults = list(error.errors())
    if not any(fault["loc"][:2] == ("body", "send_at") for fault in faults):
        now = sender.now()
        faults += (
            {"type": "value_error", "loc": ("body", each.field), "msg": each.message}
            for each in unread_schedule_faults(error.body, now=now, horizon=sender.horizon)
        )
    return RequestValidationError(faults, body=error.body)
