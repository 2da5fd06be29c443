"""What an app is answered about what it sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from app.errors import FieldError, Refused
from app.model.message import Message
from app.model.segments import Encoding, segments_of
from app.model.status import Status
from app.send.submitter import Sent


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
    errors: list[FieldError]
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

    def __init__(self, sent: Sent, headers: Mapping[str, str]) -> None:
        super().__init__(*(fault.message for fault in sent.errors))
        self.errors = sent.errors
        self.headers = dict(headers)
        self._sent = sent

    def problem(self) -> dict[str, object]:
        """With the message's id and status."""
        members = {"id": str(self._sent.message_id), "status_of_message": self._sent.status}
        return super().problem() | members


def sent_message(sent: Sent, message: Message) -> SentMessage:
    """What an app is answered about a message that was taken."""
    optional: dict[str, object] = {}
    if sent.reasons:
        optional["reasons"] = list(sent.reasons)
    if message.resend_of is not None:
        optional["resend_of"] = message.resend_of
    return SentMessage.model_validate(
        {
            "id": sent.message_id,
            "sms_activity_id": sent.sms_activity_id,
            "status": sent.status,
            "errors": list(sent.errors),
            **_size(message),
            **optional,
        }
    )


def queued_item(index: int, message: Message) -> BatchItem:
    """One message of a batch that was taken."""
    return BatchItem.model_validate(
        {
            "index": index,
            "id": message.id,
            "status": Status.QUEUED,
            "errors": [],
            **_size(message),
        }
    )


def refused_item(index: int, errors: Sequence[FieldError]) -> BatchItem:
    """One message of a batch that was not taken."""
    return BatchItem(index=index, id=None, status=Status.REJECTED, errors=list(errors))


def _size(message: Message) -> dict[str, object]:
    """What the text takes over the air; a warning only where that is worth one."""
    segments = segments_of(message.request.text)
    size: dict[str, object] = {"segments": segments.count, "encoding": segments.encoding}
    if segments.warning is not None:
        size["warning"] = segments.warning
    return size
