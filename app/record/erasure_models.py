"""Request and response models of the routes of erasures."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictStr

from app.model import erasure as model
from app.web.numbers import SentTo

LONGEST = 255


class ErasureRequest(BaseModel):
    """Whose messages are to be erased."""

    model_config = ConfigDict(extra="forbid")

    destination: Annotated[StrictStr, Field(min_length=1, max_length=LONGEST), SentTo] = Field(
        description="The number, however it is written: read as that of a send is"
    )


class Disk(BaseModel):
    """A disk that has not confirmed yet."""

    id: UUID
    host: str = Field(description="Where a process wrote to it")
    seen_at: datetime = Field(description="When a process there was last heard of")


class Erasure(BaseModel):
    """What was erased, and how far it has come. The number is not in it."""

    id: UUID
    requested_at: datetime
    who: str = Field(description="`key:ID`, `os:user@host` or `person:NAME`")
    app: str | None = Field(description="The key's")
    digest: str | None = Field(
        description="HMAC-SHA-256 of the number's E.164 digits under `DLR_ERASURE_KEY`, in "
        "hexadecimal; null where that was not set"
    )
    counts: dict[str, int] = Field(description="How many of each were erased so far")
    erased_at: datetime | None = Field(description="Since when the database has nothing of it")
    completed_at: datetime | None = Field(
        description="When every process had confirmed for its disk; null until then"
    )
    waiting_for: list[Disk]


def shown_erasure(erasure: model.Erasure) -> Erasure:
    """An erasure as the API shows it."""
    return Erasure(
        id=erasure.id,
        requested_at=erasure.requested_at,
        who=erasure.who,
        app=erasure.app,
        digest=erasure.digest.hex() if erasure.digest else None,
        counts=dict.fromkeys(model.KINDS, 0) | dict(erasure.counts),
        erased_at=erasure.erased_at,
        completed_at=erasure.completed_at,
        waiting_for=[
            Disk(id=one.id, host=one.host, seen_at=one.seen_at) for one in erasure.waiting_for
        ],
    )
