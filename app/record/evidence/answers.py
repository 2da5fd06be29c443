"""Requests and responses of the routes under ``/v1/evidence``."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.record.evidence.log import checkpoint_of
from app.record.evidence.models import Hash, Size
from app.store.evidence.rows import CheckpointRow

MOST_CHECKPOINTS = 500
"""On one page."""

Cursor = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}\.[0-9]{1,16}$")]


class Query(BaseModel):
    """Unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class SignedCheckpoint(BaseModel):
    """How large a log was, and its root; `note` is what was signed, with the signatures."""

    origin: str
    size: int
    root: Hash
    note: str = Field(description="A signed note (C2SP tlog-checkpoint)")
    signed_at: datetime
    stamp: str | None = Field(
        description="RFC 3161 TimeStampResp of the checkpoint's text, DER in base64"
    )


class CheckpointPage(BaseModel):
    """Oldest first."""

    checkpoints: list[SignedCheckpoint]
    next: str | None


class CheckpointsQuery(Query):
    """A page of checkpoints."""

    cursor: Cursor | None = Field(default=None, description="`next` of the page before")
    limit: int = Field(default=100, ge=1, le=MOST_CHECKPOINTS)


class ConsistencyQuery(Query):
    """Two sizes of one log."""

    from_: Size = Field(alias="from", description="The earlier size, at least 1")
    to: Size = Field(description="The later size")
    origin: str | None = Field(default=None, description="None: the log that facts go to now")


class ConsistencyProof(BaseModel):
    """That the tree of `to` begins with that of `from` (RFC 9162)."""

    origin: str
    from_: int = Field(alias="from")
    to: int
    proof: list[Hash]


class LogKeys(BaseModel):
    """The verifier keys of one origin, as signed notes have them."""

    origin: str
    began_at: datetime
    ended_at: datetime | None
    keys: list[str]


class Keys(BaseModel):
    """Every origin there was, the first one first."""

    logs: list[LogKeys]


class EvidenceQuery(Query):
    """Whether the proofs begin at a checkpoint that the reader has."""

    since: Size | None = Field(
        default=None,
        description="The size of a checkpoint that you have: the document then shows that its log "
        "goes on from there",
    )


def checkpoint_response(row: CheckpointRow) -> SignedCheckpoint:
    """The response for a stored checkpoint."""
    checkpoint = checkpoint_of(row)
    return SignedCheckpoint(
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        note=row.note,
        signed_at=row.signed_at,
        stamp=row.stamp and base64.b64encode(row.stamp).decode(),
    )
