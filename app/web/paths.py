"""Ids in paths: ours, and those of either kind. They come from outside and may be any text."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Path
from pydantic import BeforeValidator
from starlette.convertors import Convertor, register_url_convertor

from app.errors import NotFound

MESSAGE_NAME = "message_name"


class MessageName(Convertor[str]):
    """An id of either kind: any text but the names of other routes, which refuse a GET themselves.

    iovox's ids are opaque, so one may hold a slash.
    """

    regex = "(?!(?:batch|lookup)$)(?!.+/resend$).*"

    def convert(self, value: str) -> str:
        """The text as it is."""
        return value

    def to_string(self, value: str) -> str:
        """The text as it is."""
        return value


register_url_convertor(MESSAGE_NAME, MessageName())


def id_of(thing: str) -> BeforeValidator:
    """An id of ours in its canonical form, as in every link that we give out; else 404."""

    def read(text: object) -> UUID:
        try:
            found = UUID(str(text))
        except ValueError:
            raise NotFound(f"There is no {thing} with this id") from None
        if str(found) != str(text).lower():
            raise NotFound(f"There is no {thing} with this id")
        return found

    return BeforeValidator(read)


MessageId = Annotated[UUID, id_of("message"), Path(description="The message's id, as given out")]
WebhookId = Annotated[UUID, id_of("webhook"), Path(description="The webhook's id")]
DeliveryId = Annotated[UUID, id_of("delivery"), Path(description="The delivery's id")]
