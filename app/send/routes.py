"""The routes that send. The caller holds a key with the scope ``send``; its JSON may be anything.

Once a request is on the wire no failure of ours answers 5xx: the caller would send it again.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response

from app.errors import Conflict, FieldError, Invalid, NotFound, Refused, TooManyRequests
from app.model.status import Status
from app.send.idempotency import HEADER, REPLAYED, Key, KeyedBody, keyed_body
from app.send.rates import KeyRates
from app.send.requests import BatchRequest, ResendRequest, SendRequest
from app.send.responses import (
    BatchResponse,
    Cancellation,
    Rejected,
    SentMessage,
    sent_message,
)
from app.send.sender import Sender, SendResult
from app.web.body import KIB, body_limit
from app.web.caller import SendCaller
from app.web.paths import ANY_MESSAGE_ID, MessageId
from app.web.problems import BODY_ERRORS, Responses, headers, problems
from app.web.routing import KeyedRoute

router = APIRouter(route_class=KeyedRoute, tags=["send"])


async def _sender(request: Request) -> Sender:
    sender: Sender = request.app.state.sender
    return sender


async def _rates(request: Request) -> KeyRates:
    rates: KeyRates = request.app.state.key_rates
    return rates


KeyHeader = Annotated[
    Key | None,
    Header(
        alias=HEADER,
        description="One key and one body make one text, for 24 hours: a repetition is answered as "
        f"the first was, with `{REPLAYED}: true`",
    ),
]


async def _send_key(request: Request, key: KeyHeader = None) -> KeyedBody | None:
    return None if key is None else keyed_body(_only(request, key), "send", await request.json())


async def _batch_key(request: Request, key: KeyHeader = None) -> KeyedBody | None:
    return None if key is None else keyed_body(_only(request, key), "batch", await request.json())


async def _resend_key(
    request: Request,
    id: MessageId,
    key: KeyHeader = None,
) -> KeyedBody | None:
    return None if key is None else keyed_body(_only(request, key), f"resend {id}", None)


def _only(request: Request, key: str) -> str:
    """The framework reads the last of several headers. Raises Invalid."""
    if len(request.headers.getlist(HEADER)) > 1:
        fault = FieldError(HEADER, "is given more than once")
        raise Invalid("The idempotency key cannot be used", errors=(fault,))
    return key


TheSender = Annotated[Sender, Depends(_sender)]
Rates = Annotated[KeyRates, Depends(_rates)]

_TAKEN = headers("Location", REPLAYED)
_RESPONSES: Responses = {
    201: {"description": "iovox accepted it", "headers": _TAKEN},
    202: {
        "description": "QUEUED: sent later; or UNCONFIRMED: iovox may have it",
        "model": SentMessage,
        "headers": _TAKEN,
    },
}
_BATCH_RESPONSES: Responses = {
    202: {"description": "What became of each", "headers": headers(REPLAYED)}
}


async def _count_one(caller: SendCaller, rates: Rates) -> None:
    rates.take(caller.key_id)


@router.post(
    "/v1/messages",
    summary="Send one message",
    status_code=201,
    response_model_exclude_unset=True,
    dependencies=[Depends(_count_one)],
    responses=_RESPONSES
    | problems(*BODY_ERRORS, Conflict, Refused, TooManyRequests, retry_after=409),
)
async def send(
    message: SendRequest,
    caller: SendCaller,
    sender: TheSender,
    key: Annotated[KeyedBody | None, Depends(_send_key)],
    response: Response,
) -> SentMessage:
    """201 with iovox's id, or 202 while it is QUEUED or UNCONFIRMED."""
    done = await sender.send(caller.app, message.request(), key)
    return _respond(response, done)


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
    rates: Rates,
    key: Annotated[KeyedBody | None, Depends(_batch_key)],
    response: Response,
) -> BatchResponse:
    """202 with an outcome for each; a bad message does not spoil the others."""
    rates.take(caller.key_id, len(batch.messages))
    done = await sender.send_batch(caller.app, batch.messages, key)
    if done.replayed:
        response.headers[REPLAYED] = "true"
    return done.response


@router.delete(
    f"/v1/messages/{{id:{ANY_MESSAGE_ID}}}",
    summary="Take back a message that is QUEUED",
    responses=problems(NotFound, Conflict),
)
async def cancel(id: MessageId, caller: SendCaller, sender: TheSender) -> Cancellation:
    """200 with the status CANCELLED; 409 where it is beyond that."""
    cancelled = await sender.cancel(caller.sees, id)
    return Cancellation(id=cancelled, status=Status.CANCELLED)


@router.post(
    "/v1/messages/{id}/resend",
    summary="Deliberately send a text again",
    status_code=201,
    response_model_exclude_unset=True,
    dependencies=[Depends(_count_one)],
    responses=_RESPONSES
    | problems(NotFound, *BODY_ERRORS, Conflict, Refused, TooManyRequests, retry_after=409),
)
async def resend(
    id: MessageId,
    caller: SendCaller,
    sender: TheSender,
    key: Annotated[KeyedBody | None, Depends(_resend_key)],
    response: Response,
    _nothing: ResendRequest | None = None,
) -> SentMessage:
    """A new message with `resend_of`; the response is that of a send."""
    done = await sender.resend(caller.app, caller.sees, id, key)
    return _respond(response, done)


def _respond(response: Response, done: SendResult) -> SentMessage:
    """The body about one message; sets the response's status and headers. Raises Rejected."""
    sent = done.sent
    response.status_code = 201 if sent.status is Status.SUBMITTED else 202
    response.headers["Location"] = f"/v1/messages/{sent.message_id}"
    if done.replayed:
        response.headers[REPLAYED] = "true"
    if sent.status is Status.REJECTED:
        raise Rejected(sent, response.headers)
    return sent_message(sent, done.message)
