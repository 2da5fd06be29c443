"""What an app is told about what it sends, as bytes. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import FieldError, Refused, problem_body
from app.model.message import Message
from app.model.segments import segments_of
from app.model.status import Status
from app.openapi import PROBLEM
from app.send.idempotency import REPLAYED
from app.send.submitter import Sent

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer over HTTP. ASCII only, so that no text whatever can make it fail."""

    status: int
    headers: dict[str, str]
    body: bytes
    kind: str = JSON


def single(sent: Sent, message: Message, *, replayed: bool) -> Answer:
    """The answer about one message."""
    headers = {"Location": f"/v1/messages/{sent.message_id}"}
    if replayed:
        headers[REPLAYED] = "true"
    if sent.status is Status.REJECTED:
        return _refused(sent, headers)
    body: dict[str, object] = {
        "id": str(sent.message_id),
        "sms_activity_id": sent.sms_activity_id,
        "status": sent.status,
        "errors": _errors(sent.errors),
        **_size(message),
    }
    if sent.reasons:
        body["reasons"] = list(sent.reasons)
    if message.resend_of is not None:
        body["resend_of"] = str(message.resend_of)
    status = 201 if sent.status is Status.SUBMITTED else 202
    return Answer(status, headers, json.dumps(body).encode())


def _refused(sent: Sent, headers: dict[str, str]) -> Answer:
    error = Refused(*(fault.message for fault in sent.errors))
    error.errors = sent.errors
    body = problem_body(error, id=str(sent.message_id), status_of_message=sent.status)
    return Answer(error.status, headers, body, PROBLEM)


def queued_item(index: int, message: Message) -> dict[str, object]:
    """One message of a batch that was taken."""
    return {
        "index": index,
        "id": str(message.id),
        "status": Status.QUEUED,
        "errors": [],
        **_size(message),
    }


def refused_item(index: int, errors: Sequence[FieldError]) -> dict[str, object]:
    """One message of a batch that was not: it has no id, because nothing of it is kept."""
    return {"index": index, "id": None, "status": Status.REJECTED, "errors": _errors(errors)}


def batch(items: Sequence[dict[str, object]]) -> str:
    """The answer to a batch, in the order of its messages."""
    return json.dumps({"messages": items})


def _size(message: Message) -> dict[str, object]:
    """What the text takes over the air; a warning only where that is worth one."""
    segments = segments_of(message.request.text)
    size: dict[str, object] = {"segments": segments.count, "encoding": segments.encoding}
    if segments.warning is not None:
        size["warning"] = segments.warning
    return size


def _errors(errors: Sequence[FieldError]) -> list[dict[str, str]]:
    return [{"field": error.field, "message": error.message} for error in errors]
