"""The OpenAPI operation of ``/dlr``, by hand: its calls are answered in front of the framework."""

from __future__ import annotations

from typing import Any

from app.errors import (
    BadRequest,
    BodyTooLarge,
    Invalid,
    MethodNotAllowed,
    NotAuthenticated,
    RequestTimeout,
    Unavailable,
)
from app.web.problems import problems_without_key

SECURITY = "callbackHeader"
SECURITY_SCHEME = {
    "type": "apiKey",
    "in": "header",
    "name": "X-Custom-Header",
    "description": "The secret header that DLR_CALLBACK_URL_HEADERS makes iovox send; its name is "
    "configured, too.",
}

_NAMES = ("sms_activity_id", "delivery_status", "status_reason", "receipt_timestamp", "status")
_RECEIPT: dict[str, Any] = {
    "type": "object",
    "required": ["sms_activity_id", "status"],
    "properties": {
        **{name: {"type": ["string", "number", "null"]} for name in _NAMES},
        "sms_activity_id": {"type": ["string", "number"], "minLength": 1, "maxLength": 255},
        "status": {"type": "string", "minLength": 1},
        "receipt_timestamp": {
            "type": ["string", "null"],
            "description": "London wall-clock time; what cannot be read is accepted, too",
        },
    },
}

OPERATION: dict[str, Any] = {
    "tags": ["receive"],
    "summary": "Take a delivery receipt from iovox",
    "description": "200 once it is on durable storage, and not before. Whatever is odd about it is "
    "accepted, but for a missing id or status; those calls are kept, too, to be replayed. A body "
    "may be packed by gzip or deflate: at most 64 KiB unpacked. `/dlr/` is the same.",
    "operationId": "receive_receipt",
    "security": [{SECURITY: []}],
    "parameters": [
        {
            "name": "X-Message-Id",
            "in": "header",
            "schema": {"type": "string"},
            "description": "Our id of the message, as we asked iovox to send it along; anything "
            "else is ignored",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": _RECEIPT,
                "example": {
                    "sms_activity_id": "d454cfe0-a835-11e6-9852-d43d7ed6ce4c",
                    "delivery_status": "delivery success",
                    "status_reason": "1",
                    "receipt_timestamp": "2020-05-06 18:37:46",
                    "status": "DELIVERED",
                },
            }
        },
    },
    "responses": {
        "200": {"description": "It is stored"},
        **{
            str(status): answer
            for status, answer in problems_without_key(
                BadRequest,
                NotAuthenticated,
                MethodNotAllowed,
                RequestTimeout,
                BodyTooLarge,
                Invalid,
                Unavailable,
            ).items()
        },
    },
}
