"""What the routes that read answer, for the OpenAPI document. A test holds the answers to it."""

from __future__ import annotations

from app.lookup.export import CSV, JSON_LINES
from app.lookup.history import FAILOVER_AFTER
from app.lookup.query import FROM, PAGE, TO
from app.model.london import TimeQuality
from app.model.status import Status
from app.openapi import Json, Responses, header

MOST_IDS = 1_000

_EXAMPLE: Json = {
    "id": "0193e0c4-6d2f-7c3a-9b1e-5f0a4c7d8e21",
    "app": "billing",
    "reference": "order-42",
    "origin": "447923221231",
    "destination": "447723443321",
    "message": "Hello there, my name is John",
    "expiry": 3,
    "c2c_failover_link_id": "123456",
    "failover": {"link_id": "123456", "after": [*FAILOVER_AFTER], "called": False},
    "created_at": "2020-05-06T17:37:36.120432Z",
    "send_at": None,
    "expires_at": "2020-05-06T17:40:36.120432Z",
    "resend_of": None,
    "sms_activity_id": "d454cfe0-a835-11e6-9852-d43d7ed6ce4c",
    "status": "DELIVERED",
    "status_at": "2020-05-06T17:37:46Z",
    "final": True,
    "contradictory": False,
    "overdue": False,
    "submitted_at": "2020-05-06T17:37:36.498211Z",
    "resent_as": [],
    "errors": [],
}
_HISTORY: list[Json] = [
    {"status": "SUBMITTED", "at": "2020-05-06T17:37:36.498211Z", "source": "service"},
    {
        "status": "DELIVERED",
        "at": "2020-05-06T17:37:46Z",
        "source": "iovox",
        "delivery_status": "delivery success",
        "status_reason": "1",
        "receipt_timestamp": "2020-05-06 18:37:46",
        "time_quality": "exact",
        "received_at": "2020-05-06T17:37:46.881502Z",
        "times_seen": 1,
    },
]


def _text(description: str, **more: object) -> Json:
    return {"type": "string", "description": description, **more}


def _or_null(kind: str, description: str, **more: object) -> Json:
    return {"type": [kind, "null"], "description": description, **more}


def _time(description: str) -> Json:
    return _text(f"{description}; RFC 3339, UTC", format="date-time")


def _time_or_null(description: str) -> Json:
    return _or_null("string", f"{description}; RFC 3339, UTC", format="date-time")


def _object(properties: Json, description: str, *, optional: tuple[str, ...] = ()) -> Json:
    return {
        "type": "object",
        "description": description,
        "required": [name for name in properties if name not in optional],
        "properties": properties,
        "additionalProperties": False,
    }


def _of(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


_SUMMARY: Json = {
    "id": _or_null("string", "Ours; null for what is known only from receipts", format="uuid"),
    "app": _or_null("string", "Whose it is"),
    "reference": _or_null("string", "The app's own name for it"),
    "origin": _or_null("string", "The sender that is shown"),
    "destination": _or_null("string", "E.164 digits"),
    "message": _or_null("string", "The text"),
    "expiry": _or_null("integer", "Minutes"),
    "c2c_failover_link_id": _or_null("string", "iovox's call flow for a text that fails"),
    "failover": {
        "description": "What becomes of that call flow; null where there is none. `called` is our "
        "reading of iovox's documentation, which calls once the text has FAILED or EXPIRED: no "
        "receipt says so",
        "oneOf": [
            _object(
                {
                    "link_id": _text("The call flow"),
                    "after": {
                        "type": "array",
                        "items": {"type": "string", "enum": [*FAILOVER_AFTER]},
                        "description": "The statuses that it is called after",
                    },
                    "called": {"type": "boolean", "description": "The status is one of those"},
                },
                "A call flow",
            ),
            {"type": "null"},
        ],
    },
    "created_at": _time_or_null("When it was asked for"),
    "send_at": _time_or_null("When it is to be sent, if not at once"),
    "expires_at": _time_or_null("When its expiry has passed"),
    "resend_of": _or_null("string", "The message that it repeats", format="uuid"),
    "sms_activity_id": _or_null("string", "iovox's id; null as long as none is known"),
    "status": _text("See the description of the API", enum=[str(status) for status in Status]),
    "status_at": _time_or_null("Since when"),
    "final": {"type": "boolean", "description": "Nothing more is expected"},
    "contradictory": {"type": "boolean", "description": "Receipts say that it arrived and did not"},
    "overdue": {"type": "boolean", "description": "It should have ended by now: our reading"},
    "submitted_at": _time_or_null("When iovox accepted it"),
    "resent_as": {"type": "array", "items": {"type": "string", "format": "uuid"}},
    "errors": {"type": "array", "items": _of("FieldError"), "description": "Of a refusal"},
}
_STEP = _object(
    {
        "status": _text("What it became"),
        "at": _time("When"),
        "source": _text("Our own doing", const="service"),
        "reasons": {"type": "array", "items": {"type": "string"}},
    },
    "Something that we did",
    optional=("reasons",),
)
_RECEIPT = _object(
    {
        "status": _text("As iovox has it, upper-cased"),
        "at": _time("When, by iovox's clock"),
        "source": _text("A receipt", const="iovox"),
        "delivery_status": _or_null("string", "The raw receipt's text"),
        "status_reason": _or_null("string", "The raw receipt's number"),
        "receipt_timestamp": _or_null("string", "London time, as it came"),
        "time_quality": _text("How sure `at` is", enum=[str(quality) for quality in TimeQuality]),
        "received_at": _time("When it reached us"),
        "times_seen": {"type": "integer", "minimum": 1},
    },
    "Something that iovox told us",
)
_FIGURES: Json = {
    "messages": {"type": "integer"},
    "statuses": {"type": "object", "additionalProperties": {"type": "integer"}},
    "delivery_rate": {
        "type": ["number", "null"],
        "description": "DELIVERED of DELIVERED, FAILED and EXPIRED; null before the first of them",
    },
    "seconds_to_delivery": _object(
        {name: _or_null("integer", "Whole seconds") for name in ("p50", "p90", "p99")},
        "From submission to DELIVERED; iovox's times are no finer",
    ),
}

SCHEMAS: Json = {
    "MessageSummary": _object(_SUMMARY, "A message, without its history") | {"example": _EXAMPLE},
    "Message": _object(
        {
            **_SUMMARY,
            "history": {
                "type": "array",
                "description": "Our own steps first, then the receipts in the order of their times",
                "items": {"oneOf": [_of("Step"), _of("Receipt")]},
            },
        },
        "A message and everything that is known to have happened to it",
    )
    | {"example": {**_EXAMPLE, "history": _HISTORY}},
    "Step": _STEP,
    "Receipt": _RECEIPT,
    "MessagePage": _object(
        {
            "messages": {"type": "array", "items": _of("MessageSummary")},
            "next": _or_null(
                "string",
                "The cursor of what is older; null at the end. A page can be short before the end",
            ),
        },
        "Messages, newest first",
    ),
    "FoundMessages": _object(
        {
            "messages": {"type": "array", "items": _of("Message")},
            "not_found": {"type": "array", "items": {"type": "string"}},
        },
        "Each message once, in the order that its ids were asked for",
    ),
    "Stats": _object(
        {
            "from": _time("Created then or later"),
            "to": _time("Created before"),
            "by": _text("What the groups have in common"),
            **_FIGURES,
            "groups": {
                "type": "array",
                "items": _object(
                    {"key": _or_null("string", "Null where there is none"), **_FIGURES},
                    "One group",
                ),
            },
            "groups_left_out": {"type": "integer", "description": "Of the smallest"},
        },
        "Counts of messages",
    ),
}

LOOKUP_BODY: Json = {
    "type": "object",
    "required": ["ids"],
    "properties": {
        "ids": {
            "type": "array",
            "maxItems": MOST_IDS,
            "items": {"type": "string"},
            "description": "Our ids and iovox's, mixed as you like",
        }
    },
    "additionalProperties": False,
}
LOOKUP_EXAMPLE: Json = {"ids": [_EXAMPLE["id"], _EXAMPLE["sms_activity_id"], "another"]}

_ETAG = header("Changes with the answer; for `If-None-Match`")


def _answers(name: str, description: str, **headers: Json) -> Responses:
    content: Json = {"application/json": {"schema": _of(name)}}
    return {200: {"description": description, "content": content, "headers": headers}}


MESSAGE_ANSWERS: Responses = {
    **_answers("Message", "What became of it", ETag=_ETAG),
    304: {"description": "It is as you know it", "headers": {"ETag": _ETAG}},
}
PAGE_ANSWERS = _answers(
    "MessagePage",
    f"A page of at most {PAGE} unless `limit` says otherwise; or, by `Accept`, a file of all",
    Link=header('The next page, as `rel="next"`, where there is one'),
    Vary=header("Always `Accept`"),
)
PAGE_ANSWERS[200]["headers"]["Content-Disposition"] = header("Of a file: its name")
PAGE_ANSWERS[200]["content"] |= {
    CSV: {
        "schema": _text("A line of column names, then a line for each message. Text that a "
                        "spreadsheet would take for a formula has a ' in front"),
    },
    JSON_LINES: {"schema": _text("A MessageSummary on each line")},
}  # fmt: skip
FOUND_ANSWERS = _answers("FoundMessages", "What there is, and what there is not")
STATS_ANSWERS = _answers(
    "Stats", f"Counts; {FROM.description.lower()} and {TO.description.lower()} the given times"
)
