"""Ids in paths: our own, and those of either kind. Untrusted text."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Path
from pydantic import BeforeValidator
from starlette.convertors import Convertor, register_url_convertor

from app.errors import NotFound

ANY_MESSAGE_ID = "any_message_id"
OWNED_MESSAGE_ID = "owned_message_id"


class AnyMessageId(Convertor[str]):
    """Our id or an sms_activity_id: any text but the paths of other routes.

    iovox's ids are opaque, so they may contain a slash or a line break.
    """

    regex = r"(?s:(?!(?:batch|lookup)\Z)(?!.+/(?:resend|evidence)\Z).*)"

    def convert(self, value: str) -> str:
        """The text as it is."""
        return value

    def to_string(self, value: str) -> str:
        """The text as it is."""
        return value


class OwnedMessageId(AnyMessageId):
    """The same in front of a further part of the path."""

    regex = "(?s:.+)"


register_url_convertor(ANY_MESSAGE_ID, AnyMessageId())
register_url_convertor(OWNED_MESSAGE_ID, OwnedMessageId())


def id_of(resource: str) -> BeforeValidator:
    """A UUID in its canonical form, the only one that we give out; anything else is 404."""

    def read(text: object) -> UUID:
        try:
            found = UUID(str(text))
        except ValueError:
            raise NotFound(f"There is no {resource} with this id") from None
        if str(found) != str(text).lower():
            raise NotFound(f"There is no {resource} with this id")
        return found

    return BeforeValidator(read)


MessageId = Annotated[UUID, id_of("message"), Path(description="The message's id")]
WebhookId = Annotated[UUID, id_of("webhook"), Path(description="The webhook's id")]
DeliveryId = Annotated[UUID, id_of("delivery"), Path(description="The delivery's id")]
ErasureId = Annotated[UUID, id_of("erasure"), Path(description="The erasure's id")]
