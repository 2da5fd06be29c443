"""The schema of the evidence document, for the route that sends it and for the verifier."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0, le=2**53 - 1)]


class Model(BaseModel):
    """Strict: no type is converted, and unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Opening(Model):
    """The value of a commitment, and its salt: SHA-256(salt || value) is the commitment."""

    salt: Hash
    text: str | None = Field(default=None, description="The value, where it is UTF-8")
    base64: str | None = Field(default=None, description="The value, where it is not")


class Entry(Model):
    """A fact with its proof."""

    fact: dict[str, Any] = Field(description="Its RFC 8785 form is the leaf of the log")
    index: Size = Field(description="Of the leaf in its log")
    proof: list[Hash] | None = Field(
        description="RFC 9162 inclusion proof; null where a later fact of its chain covers it"
    )
    opened: dict[str, Opening | None] = Field(
        description="By the names of the commitments in the fact; null: deleted for ever"
    )


class Consistency(Model):
    """Proof that the tree continues an earlier one."""

    from_: Size = Field(alias="from")
    proof: list[Hash] = Field(description="RFC 9162 consistency proof")


class LogEntry(Model):
    """A log that has facts of the message."""

    origin: str
    checkpoint: str = Field(description="A signed note (C2SP tlog-checkpoint)")
    keys: list[str] = Field(description="Verifier keys, as signed notes have them")
    stamp: str | None = Field(
        description="RFC 3161 TimeStampResp of the checkpoint's text, DER in base64"
    )
    consistency: Consistency | None = Field(description="With `since`: from that size")


class Evidence(Model):
    """The evidence of one message, in canonical JSON (RFC 8785). docs/evidence.md specifies it."""

    version: Annotated[int, Field(ge=1, le=1)]  # Literal[1] would accept true
    facts: list[Entry]
    logs: list[LogEntry]
    digest: Hash = Field(description="SHA-256 of the document without this field")
