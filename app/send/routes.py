"""The routes that send. The caller holds a key with the scope ``send``; its JSON may be anything.

Once a request is on the wire no failure of ours answers 5xx: the caller would send it again.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor

from app.auth import Authenticator, Caller, Scope, secured_router
from app.errors import Conflict, FieldError, Invalid, NotFound, Refused, TooManyRequests
from app.model.status import Status
from app.openapi import BODY_PROBLEMS, Responses, header, json_body, parameter, problems
from app.send.answers import JSON, single
from app.send.idempotency import HEADER, LONGEST_KEY, REPLAYED, VISIBLE, read_key
from app.send.rates import KeyRates
from app.send.requests import SendRequest
from app.send.sender import Answered, Sender
from app.web import json_of, read_body, read_json

LARGEST_BATCH = 1_000
MESSAGE_ID = "message_id"


class MessageIdConvertor(StringConvertor):
    """Any one segment of a path but the names of other routes, which answer 405 by themselves."""

    regex = "(?!(?:batch|lookup)$)[^/]+"


def send_routes(*, sender: Sender, rates: KeyRates, authenticator: Authenticator) -> APIRouter:
    """``POST /v1/messages`` and what rides on the same queue."""
    register_url_convertor(MESSAGE_ID, MessageIdConvertor())
    router = secured_router(authenticator, Scope.SEND, plain=True, tags=["send"])

    @router.post("/v1/messages", summary="Send one message", **_SEND)
    async def send(_request: Request) -> Response:
        """201 with iovox's id, or 202 while it is QUEUED or UNCONFIRMED."""
        raise NotFound("This is answered before the framework, by SendEndpoint")

    @router.post("/v1/messages/batch", summary="Queue up to 1,000 messages", **_BATCH)
    async def send_batch(request: Request) -> Response:
        """202 with an outcome for each; a bad message does not spoil the others."""
        caller: Caller = request.state.caller
        body = await read_json(request)
        messages = _messages(body)
        rates.take(caller.key_id, len(messages))
        key = read_key(request.headers.getlist(HEADER), "batch", body)
        answer = await sender.send_batch(caller.app, messages, key)
        headers = {REPLAYED: "true"} if answer.replayed else {}
        return Response(answer.body, status_code=202, media_type=JSON, headers=headers)

    @router.delete(
        f"/v1/messages/{{id:{MESSAGE_ID}}}", summary="Take back a message that is QUEUED", **_CANCEL
    )
    async def cancel(request: Request) -> Response:
        """200 with the status CANCELLED; 409 where it is beyond that."""
        caller: Caller = request.state.caller
        cancelled = await sender.cancel(caller.sees, _uuid(request))
        body = f'{{"id": "{cancelled}", "status": "{Status.CANCELLED}"}}'
        return Response(body, media_type=JSON)

    @router.post("/v1/messages/{id}/resend", summary="Deliberately send a text again", **_RESEND)
    async def resend(request: Request) -> Response:
        """A new message with ``resend_of``; answers like a send."""
        caller: Caller = request.state.caller
        rates.take(caller.key_id)
        message_id = _uuid(request)
        _require_nothing(await read_body(request.receive))
        key = read_key(request.headers.getlist(HEADER), f"resend {message_id}", None)
        return _response(await sender.resend(caller.app, caller.sees, message_id, key))

    return router


def _messages(body: object) -> list[object]:
    if not isinstance(body, dict):
        fault = FieldError("body", "must be an object with the field `messages`")
        raise Invalid("The batch cannot be read; nothing is stored", errors=(fault,))
    faults = [
        FieldError(name, "is not a field of this request") for name in body if name != "messages"
    ]
    messages = body.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= LARGEST_BATCH:
        faults.append(FieldError("messages", f"must be a list of 1 to {LARGEST_BATCH} messages"))
    if faults or not isinstance(messages, list):
        raise Invalid("The batch cannot be read; nothing is stored", errors=tuple(faults))
    return messages


def _require_nothing(content: bytes) -> None:
    """A resend repeats the message as it was: there is nothing to say of it."""
    body = json_of(content) if content else {}
    if not isinstance(body, dict):
        fault = FieldError("body", "must be empty, or an object without fields")
        raise Invalid("Nothing is sent again", errors=(fault,))
    if body:
        why = "is not a field of this request"
        faults = tuple(FieldError(name[:100], why) for name in body)
        raise Invalid("Nothing is sent again", errors=faults)


def _uuid(request: Request) -> UUID:
    """The canonical form only, as in every link that we give out."""
    name: str = request.path_params["id"]
    try:
        found = UUID(name)
    except ValueError:
        found = None
    if found is None or str(found) != name.lower():
        raise NotFound("There is no message with this id")
    return found


def _response(answered: Answered) -> Response:
    answer = single(answered.sent, answered.message, replayed=answered.replayed)
    return Response(
        answer.body, status_code=answer.status, media_type=answer.kind, headers=answer.headers
    )


# What the OpenAPI document says of the routes.

_ID = parameter(
    "id", {"type": "string", "format": "uuid"}, "The message's id, as we gave it out", where="path"
)
_KEY = parameter(
    HEADER,
    {"type": "string", "pattern": f"^{VISIBLE}+$", "maxLength": LONGEST_KEY},
    "One key and one body make one text, for 24 hours: a repetition is told what the first was, "
    f"with `{REPLAYED}: true`",
    where="header",
)
_FAULTS = {
    "type": "array",
    "items": {"$ref": "#/components/schemas/FieldError"},
}
_TEXT_SIZE = {
    "segments": {"type": "integer", "minimum": 1, "description": "SMS that the text takes"},
    "encoding": {"enum": ["GSM-7", "UCS-2"]},
    "warning": {"type": "string", "description": "Only where the encoding is not GSM-7"},
}
_SENT = {
    "type": "object",
    "required": ["id", "sms_activity_id", "status", "errors", "segments", "encoding"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "sms_activity_id": {"type": ["string", "null"], "description": "iovox's id"},
        "status": {"enum": ["SUBMITTED", "QUEUED", "UNCONFIRMED", "UNSENT"]},
        "errors": _FAULTS,
        "reasons": {"type": "array", "items": {"type": "string"}},
        "resend_of": {"type": "string", "format": "uuid"},
        **_TEXT_SIZE,
    },
}
_ITEMS = {
    "type": "object",
    "required": ["messages"],
    "properties": {
        "messages": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "id", "status", "errors"],
                "properties": {
                    "index": {"type": "integer"},
                    "id": {"type": ["string", "null"], "format": "uuid"},
                    "status": {"enum": ["QUEUED", "REJECTED"]},
                    "errors": _FAULTS,
                    **_TEXT_SIZE,
                },
            },
        }
    },
}


def _answer(description: str, schema: dict[str, Any], **headers: Any) -> dict[str, Any]:
    return {
        "description": description,
        "content": {JSON: {"schema": schema}},
        "headers": {name.replace("_", "-"): shown for name, shown in headers.items()},
    }


def _in_flight(answers: Responses) -> Responses:
    """With what a 409 says where the first request with this key is still being answered."""
    words = "Whole seconds; only where the first request with this key is still being answered"
    answers[409]["headers"] = {"Retry-After": header(words)}
    return answers


_LINKS = {
    "Location": header("Where the message can be looked up"),
    "Idempotency_Replayed": header("`true` where this repeats an earlier answer"),
}
_REPLAYED = {"Idempotency_Replayed": _LINKS["Idempotency_Replayed"]}
_ANSWERS = {
    201: _answer("iovox accepted it", _SENT, **_LINKS),
    202: _answer("QUEUED: sent later; or UNCONFIRMED: iovox may have it", _SENT, **_LINKS),
}
_EXAMPLE = SendRequest.model_config["json_schema_extra"]["examples"][0]  # type: ignore[index]
_SCHEMA = SendRequest.model_json_schema()
_SEND: dict[str, Any] = {
    "status_code": 201,
    "responses": _ANSWERS
    | _in_flight(problems(*BODY_PROBLEMS, Conflict, Invalid, Refused, TooManyRequests)),
    "openapi_extra": json_body(_SCHEMA, example=_EXAMPLE) | {"parameters": [_KEY]},
}
_BATCH: dict[str, Any] = {
    "status_code": 202,
    "responses": {202: _answer("An outcome for each", _ITEMS, **_REPLAYED)}
    | problems(*BODY_PROBLEMS, Invalid, TooManyRequests),
    "openapi_extra": json_body(
        {
            "type": "object",
            "required": ["messages"],
            "additionalProperties": False,
            "properties": {
                "messages": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": LARGEST_BATCH,
                    "items": {
                        "description": "An object as for `POST /v1/messages`. Whatever else stands "
                        "here is refused by itself, named by its index"
                    },
                }
            },
        },
        example={"messages": [_EXAMPLE]},
    )
    | {"parameters": [_KEY]},
}
_CANCELLED = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "status": {"const": "CANCELLED"}},
}
_CANCEL: dict[str, Any] = {
    "responses": {200: _answer("Taken back", _CANCELLED)} | problems(NotFound, Conflict),
    "openapi_extra": {"parameters": [_ID]},
}
_RESEND: dict[str, Any] = {
    "status_code": 201,
    "responses": _ANSWERS
    | _in_flight(problems(NotFound, *BODY_PROBLEMS, Conflict, Invalid, Refused, TooManyRequests)),
    "openapi_extra": {
        "parameters": [_ID, _KEY],
        "requestBody": {
            "required": False,
            "description": "Nothing, or an object without fields",
            "content": {
                JSON: {
                    "schema": {"type": "object", "properties": {}, "additionalProperties": False},
                    "example": {},
                }
            },
        },
    },
}
