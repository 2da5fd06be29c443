"""The routes that send. The caller holds a key with the scope ``send``; its JSON is untrusted.

Once a request to iovox is written no failure of ours answers 5xx: the caller would send it again.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Header, Request, Response
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
from app.web.actor import TheActor
from app.web.body import KIB, Bodies, body_limit
from app.web.caller import SendCaller
from app.web.paths import ANY_MESSAGE_ID, MessageId
from app.web.problems import BODY_ERRORS, Responses, headers, problems
from app.web.routing import KeyedRoute, direct_router
from app.web.state import from_state


class SendRoute(KeyedRoute):
    """Names a ``send_at`` in the past beside the faults that the model finds in the body, and an
    idempotency key that is given more than once.

    The models cannot: a repeated request, whose ``send_at`` has passed, is valid, and of several
    headers the framework reads one.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of ``KeyedRoute``; its errors about the body are completed."""
        handle = super().get_route_handler()

        async def handle_and_complete(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                sender: Sender = request.app.state.sender
                raise _with_further_faults(error, request, sender) from None

        return handle_and_complete


router = direct_router("send", route_class=SendRoute)


TheKey = Annotated[
    Key | None,
    Header(
        alias=HEADER,
        description="One key and one body make one text, for 24 hours: a repetition is answered as "
        f"the first was, with `{REPLAYED}: true`",
    ),
]


TheSender = Annotated[Sender, from_state("sender")]

_SEVERAL_KEYS = FieldError(HEADER, "is given more than once")

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
    request: Request,
    response: Response,
    idempotency_key: TheKey = None,
    prefer: PreferHeader = None,
) -> SentMessage:
    """201 with iovox's id, or 202 while it is QUEUED or UNCONFIRMED."""
    sender: Sender = request.app.state.sender  # as a dependency it costs 3 % of a send
    key = _keyed(request, idempotency_key, "send", await request.json())
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
    idempotency_key: TheKey = None,
) -> BatchResponse:
    """202 with an outcome for each; a bad message does not spoil the others."""
    bodies: Bodies = request.app.state.bodies
    body = await request.json()
    key = await bodies.in_thread(_keyed, request, idempotency_key, "batch", body)
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
async def cancel(
    id: MessageId, caller: SendCaller, sender: TheSender, actor: TheActor
) -> Cancellation:
    """200 with the status CANCELLED; 409 where it is beyond that."""
    cancelled = await sender.cancel(caller.changes, id, actor=actor)
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
    actor: TheActor,
    request: Request,
    response: Response,
    idempotency_key: TheKey = None,
    _nothing: ResendRequest | None = None,
) -> SentMessage:
    """A new message with `resend_of`; the response is that of a send."""
    key = _keyed(request, idempotency_key, f"resend {id}", None)
    sender.rates.take(caller.key_id)
    result = await sender.resend(caller.app, caller.changes, id, key, actor=actor)
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


def _keyed(request: Request, key: str | None, operation: str, body: object) -> KeyedBody | None:
    """The idempotency key with what it is used for.

    Raises BadRequest, and Invalid if there are several keys, of which the framework reads one.
    """
    if key is None:
        return None
    if _has_several_keys(request):
        raise Invalid("The idempotency key cannot be used", errors=(_SEVERAL_KEYS,))
    return keyed_body(key, operation, body)


def _has_several_keys(request: Request) -> bool:
    return len(request.headers.getlist(HEADER)) > 1


def _with_further_faults(
    error: RequestValidationError, request: Request, sender: Sender
) -> RequestValidationError:
    faults = list(error.errors())
    if not any(fault["loc"][:2] == ("body", "send_at") for fault in faults):
        now = sender.now()
        faults += (
            {"type": "value_error", "loc": ("body", each.field), "msg": each.message}
            for each in unread_schedule_faults(error.body, now=now, horizon=sender.horizon)
        )
    if _has_several_keys(request):
        name, why = _SEVERAL_KEYS.field, _SEVERAL_KEYS.message
        faults.append({"type": "value_error", "loc": ("header", name), "msg": why})
    return RequestValidationError(faults, body=error.body)
