"""Responses of the routes that send: the results behind them, and their bodies as models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from app.errors import MAX_FAULTS, FieldError, Invalid, Refused
from app.model.message import Message
from app.model.segments import Encoding, segments_of
from app.model.status import Status
from app.send.outcomes import SubmitResult


class SentMessage(BaseModel):
    """A message that was taken, and how far it has come."""

    id: UUID = Field(description="Ours")
    sms_activity_id: str | None = Field(description="iovox's id")
    status: Literal[Status.SUBMITTED, Status.QUEUED, Status.UNCONFIRMED, Status.UNSENT]
    errors: list[FieldError]
    segments: int = Field(ge=1, description="SMS that the text takes")
    encoding: Encoding
    warning: str | SkipJsonSchema[None] = Field(
        None, description="Only where the encoding is not GSM-7"
    )
    reasons: list[str] | SkipJsonSchema[None] = Field(None, description="Only where there are any")
    resend_of: UUID | SkipJsonSchema[None] = Field(None, description="Only of a resend")


class BatchItem(BaseModel):
    """What became of one message of a batch. One that is REJECTED has no id: it is not kept."""

    index: int = Field(description="Its place in the request, from 0")
    id: UUID | None
    status: Literal[Status.QUEUED, Status.REJECTED]
    errors: list[FieldError] = Field(max_length=MAX_FAULTS)
    errors_left_out: Annotated[int, Field(ge=1)] | SkipJsonSchema[None] = Field(
        None, description="How many more faults it has, if they are not all named"
    )
    segments: Annotated[int, Field(ge=1)] | SkipJsonSchema[None] = None
    encoding: Encoding | SkipJsonSchema[None] = None
    warning: str | SkipJsonSchema[None] = None


class BatchResponse(BaseModel):
    """What became of each message, in the order of the request."""

    messages: list[BatchItem]


class Cancellation(BaseModel):
    """A message that was taken back."""

    id: UUID
    status: Literal[Status.CANCELLED]


class Rejected(Refused):
    """iovox refused a message; the problem names it, since it is recorded."""

    def __init__(self, result: SubmitResult, headers: Mapping[str, str]) -> None:
        super().__init__(*(fault.message for fault in result.errors))
        self.errors = result.errors
        self.headers = dict(headers)
        self._result = result

    def problem(self) -> dict[str, object]:
        """With the message's id and status."""
        members = {"id": str(self._result.message_id), "status_of_message": self._result.status}
        return super().problem() | members


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of one send. ``replayed``: it is an earlier request's, by its idempotency key."""

    submitted: SubmitResult
    message: Message
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of a batch; ``replayed`` as in SendResult."""

    response: BatchResponse
    replayed: bool = False


def sent_message(result: SubmitResult, message: Message) -> SentMessage:
    """The body about a message that was taken."""
    optional: dict[str, object] = {}
    if result.reasons:
        optional["reasons"] = list(result.reasons)
    if message.resend_of is not None:
        optional["resend_of"] = message.resend_of
    return SentMessage.model_validate(
        {
            "id": result.message_id,
            "sms_activity_id": result.sms_activity_id,
            "status": result.status,
            "errors": list(result.errors),
            **_size(message),
            **optional,
        }
    )


def queued_item(index: int, message: Message) -> BatchItem:
    """The body about one message of a batch that was taken."""
    return BatchItem.model_validate(
        {
            "index": index,
            "id": message.id,
            "status": Status.QUEUED,
            "errors": [],
            **_size(message),
        }
    )


def refused_item(index: int, error: Invalid, *, most: int) -> BatchItem:
    """The body about one message of a batch that was refused, with at most so many faults."""
    errors = list(error.errors[:most])
    left_out = error.errors_left_out + len(error.errors) - len(errors)
    item = BatchItem(index=index, id=None, status=Status.REJECTED, errors=errors)
    if left_out:
        item.errors_left_out = left_out
    return item


def _size(message: Message) -> dict[str, object]:
    """The segments and the encoding of the text; a warning only if it is not GSM-7."""
    segments = segments_of(message.request.text)
    size: dict[str, object] = {"segments": segments.count, "encoding": segments.encoding}
    if segments.warning is not None:
        size["warning"] = segments.warning
    return size
