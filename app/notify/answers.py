"""What the routes about events and webhooks are asked and answer, for the OpenAPI document."""

from __future__ import annotations

import json

from app.model.event import ID_PATTERN, event_id
from app.model.webhook import DeliveryState, WebhookState
from app.notify.filters import SHOWN
from app.notify.requests import BY_DEFAULT, LONGEST_APP
from app.notify.targets import LONGEST_URL
from app.openapi import Json, Responses, header

_STATUSES = [str(status) for status in SHOWN]
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# What is surely taken. Addresses in place of names are, too, where they are public.
_URL = rf"^https://({_LABEL}\.)+[A-Za-z]{{2,24}}(:[1-9][0-9]{{0,3}})?([/?][!$&-;=?-Z_a-z~]*)?$"
EVENT_ID: Json = {"type": "string", "pattern": ID_PATTERN}
STATUS: Json = {"type": "string", "enum": _STATUSES}
_FIELDS: Json = {
    "url": {"type": "string", "pattern": _URL, "maxLength": LONGEST_URL},
    "statuses": {"type": "array", "minItems": 1, "items": STATUS, "default": [*BY_DEFAULT]},
}
NEW_WEBHOOK: Json = {
    "type": "object",
    "required": ["url"],
    "additionalProperties": False,
    "properties": _FIELDS
    | {
        "app": {
            "type": "string",
            "pattern": r"^[a-z0-9-]+$",
            "maxLength": LONGEST_APP,
            "description": "For admins: whose events; without it, every app's",
        }
    },
}
WEBHOOK_CHANGE: Json = {
    "type": "object",
    "description": "What is not named stays",
    "additionalProperties": False,
    "properties": _FIELDS | {"paused": {"type": "boolean"}},
}
REPLAY: Json = {
    "type": "object",
    "description": "Of events after one and until another, recorded from a time on and before "
    "another, and by what became of them",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {
        "after": EVENT_ID,
        "until": EVENT_ID,
        "from": {"type": "string", "format": "date-time"},
        "to": {"type": "string", "format": "date-time"},
        "state": {"type": "string", "enum": [*DeliveryState]},
    },
}
_EVENT_EXAMPLE: Json = {
    "id": event_id(674),
    "message_id": "0193e0c4-6d2f-7c3a-9b1e-5f0a4c7d8e21",
    "sms_activity_id": "d454cfe0-a835-11e6-9852-d43d7ed6ce4c",
    "reference": "order-42",
    "status": "DELIVERED",
    "at": "2020-05-06T17:37:46Z",
    "recorded_at": "2020-05-06T17:37:46.881502Z",
}


def _text(description: str, **more: object) -> Json:
    return {"type": "string", "description": description, **more}


def _or_null(description: str, kind: str = "string", **more: object) -> Json:
    return {"type": [kind, "null"], "description": description, **more}


def _time(description: str) -> Json:
    return _text(f"{description}; RFC 3339, UTC", format="date-time")


def _time_or_null(description: str) -> Json:
    return _or_null(f"{description}; RFC 3339, UTC", format="date-time")


def _object(description: str, properties: Json, *, also: Json | None = None) -> Json:
    return {
        "type": "object",
        "description": description,
        "required": [*properties],
        "properties": properties | (also or {}),
    }


def _many(name: str, schema: str, description: str, end: Json | None = None) -> Json:
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{schema}"}}
    return _object(description, {name: items} | ({"next": end} if end else {}))


SCHEMAS: Json = {
    "Event": _object(
        "A change of a message's status",
        {
            "id": _text("Its place in the order of commits; opaque"),
            "message_id": _text("Ours", format="uuid"),
            "sms_activity_id": _or_null("iovox's, where it is known"),
            "reference": _or_null("The app's own name for the message"),
            "status": _text("What the message became", enum=_STATUSES),
            "at": _time("When that happened"),
            "recorded_at": _time("When we committed it"),
        },
    )
    | {"example": _EVENT_EXAMPLE},
    "EventPage": _many(
        "events", "Event", "Oldest first", _text("Hand it in as `after`; always set")
    ),
    "Webhook": _object(
        "A subscription to events",
        {
            "id": _text("Ours", format="uuid"),
            "app": _or_null("Whose events; null for every app's"),
            "url": _text("Where it is told"),
            "statuses": {"type": "array", "items": {"type": "string", "enum": _STATUSES}},
            "paused": {"type": "boolean"},
            "state": _text("ENDED is for good", enum=[*WebhookState]),
            "reason": _or_null("Why it is not ACTIVE"),
            "created_at": _time("It is told of what happened since"),
            "failing_since": _time_or_null("Since when nothing was taken"),
            "not_before": _time_or_null("When its receiver is tried again"),
            "previous_secret_until": _time_or_null("How long the old secret signs as well"),
        },
        also={"secret": _text("`whsec_` and base64; shown when it is made, and never again")},
    ),
    "WebhookList": _many("webhooks", "Webhook", "Oldest first"),
    "Delivery": _object(
        "A call to a webhook's receiver",
        {
            "id": _text("The header `webhook-id`, however often it is sent", format="uuid"),
            "type": _text("`message.` and the status, or `webhook.test`"),
            "event_id": _or_null("The event's; null for a test"),
            "message_id": _or_null("The message's; null for a test", format="uuid"),
            "state": _text("What became of it", enum=[*DeliveryState]),
            "replays": {"type": "integer", "description": "How often it was asked for again"},
            "attempts": {"type": "integer", "description": "Since it was last asked for"},
            "created_at": _time("When it was due"),
            "next_attempt_at": _time_or_null("While it is PENDING"),
            "ended_at": _time_or_null("When it was taken or given up"),
            "status_code": _or_null("Of the last answer", "integer"),
            "error": _or_null("What went wrong at last"),
            "payload": {"type": "object", "description": "The body that is sent"},
        },
    ),
    "DeliveryPage": _many(
        "deliveries",
        "Delivery",
        "Newest first",
        _or_null("Hand it in as `cursor`; null at the end"),
    ),
    "Replayed": _object(
        "How much is sent again",
        {
            "replayed": {"type": "integer"},
            "next": _or_null("Where there are more: hand it in as `after`"),
        },
    ),
}


def answer(schema: str, description: str, *, status: int = 200, **headers: Json) -> Responses:
    """The good answer of a route."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {status: {"description": description, "content": content, "headers": headers}}


STREAM_ANSWER: Responses = {
    200: {
        "description": "Server-sent events: `id` is an Event's id and `data` the Event. The first "
        "has an id and no data; comments are heartbeats",
        "content": {
            "text/event-stream": {
                "schema": _object(
                    "One of them, once its lines are read",
                    {},
                    also={
                        "id": EVENT_ID,
                        "event": _text("Always left out, which stands for `message`"),
                        "data": _text("An Event, as JSON"),
                    },
                ),
                "example": {"id": _EVENT_EXAMPLE["id"], "data": json.dumps(_EVENT_EXAMPLE)},
            }
        },
    }
}
CREATED = answer("Webhook", "With its secret", status=201, Location=header("The webhook's path"))
