"""Query and response models of the routes for rejected calls."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field

from app.web.query import Boolean, PageSize, Query, whole_number

LARGEST_REPLAY = 10_000


def _cursor(text: object) -> UUID:
    try:
        return UUID(str(text))
    except ValueError:
        raise ValueError("is not one that this service gave") from None


class RejectedQuery(Query):
    """Which rejected calls are listed."""

    cursor: Annotated[UUID, BeforeValidator(_cursor)] | None = Field(
        None, description="`next` of the page before"
    )
    limit: PageSize = Field(100, description="How many at most")
    replayed: Boolean = Field(False, description="Also those that are receipts by now")


class ReplayQuery(Query):
    """How many rejected calls are processed again."""

    limit: Annotated[int, Field(ge=1, le=LARGEST_REPLAY), whole_number(LARGEST_REPLAY)] = Field(
        1_000, description="How many at most"
    )


class RejectedCall(BaseModel):
    """An authenticated call to /dlr that could not be understood."""

    id: UUID
    received_at: datetime
    reason: str
    body: str = Field(description="Word for word; bytes that are no text show as escapes")
    replayed_at: datetime | None = Field(description="When it became a receipt after all")


class RejectedPage(BaseModel):
    """Rejected calls, oldest first."""

    rejected: list[RejectedCall]
    next: str | None = Field(description="Hand it in as `cursor`; null on the last page")


class ReplayResult(BaseModel):
    """What became of a replay."""

    tried: int
    stored: int = Field(description="How many of them are receipts now")
